#!/bin/sh
# The mspfn_mobile of version 0.1.0 (four blocks, attention of each block), whose runs came one
# after the other on one CPU core: 92, 63 and 97 minutes.
set -e

mspfn train \
  --preset mspfn_mobile \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --data_dir tfds \
  --workdir runs/mobile \
  --steps 10000 \
  --batch_size 16 \
  --patch_size 64,96 \
  --learning_rate 1e-3 \
  --warmup_steps 300 \
  --ema 0.998 \
  --validate_every 1000 \
  --checkpoint_every 250 \
  --seed 1

mspfn train \
  --preset mspfn_mobile \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --data_dir tfds \
  --workdir runs/mobile1 \
  --steps 5500 \
  --batch_size 8 \
  --patch_size 128,160 \
  --optimizer muon \
  --weight_decay 0 \
  --loss psnr \
  --clip_norm 50 \
  --learning_rate 1e-3 \
  --warmup_steps 100 \
  --ema 0.998 \
  --validate_every 1000 \
  --validation_dataset rain800,synthetic_rain/mixed \
  --validation_images 55 \
  --checkpoint_every 250 \
  --init_weights runs/mobile/model.weights.h5 \
  --seed 5 \
  --cache_mb 8000

mspfn train \
  --preset mspfn_mobile \
  --dataset rain800:5,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --data_dir tfds \
  --workdir runs/mobile2 \
  --steps 9000 \
  --batch_size 4 \
  --patch_size 192 \
  --optimizer muon \
  --weight_decay 0 \
  --loss psnr \
  --clip_norm 50 \
  --learning_rate 1e-3 \
  --warmup_steps 100 \
  --ema 0.999 \
  --validate_every 1000 \
  --validation_dataset rain800,synthetic_rain/mixed \
  --validation_images 55 \
  --checkpoint_every 250 \
  --init_weights runs/mobile1/model.weights.h5 \
  --seed 6 \
  --cache_mb 8000
