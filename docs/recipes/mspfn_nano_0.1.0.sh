#!/bin/sh
# The shipped mspfn_nano: three runs on one CPU core, 20, 8 and 19 minutes. The teacher is the
# mspfn_mobile of version 0.1.0 (docs/recipes/mspfn_mobile_0.1.0.sh).
set -e

mspfn train \
  --preset mspfn_nano \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --data_dir tfds \
  --workdir runs/nano \
  --steps 9000 \
  --batch_size 8 \
  --patch_size 64,96,128 \
  --optimizer muon \
  --weight_decay 0 \
  --loss psnr \
  --clip_norm 50 \
  --learning_rate 2e-3 \
  --warmup_steps 100 \
  --ema 0.998 \
  --validate_every 1000 \
  --validation_dataset rain800,synthetic_rain/mixed \
  --validation_images 55 \
  --checkpoint_every 500 \
  --seed 3 \
  --cache_mb 8000

mspfn train \
  --preset mspfn_nano \
  --teacher runs/mobile2/model.weights.h5 \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --data_dir tfds \
  --workdir runs/nano2 \
  --steps 2400 \
  --batch_size 8 \
  --patch_size 96 \
  --optimizer muon \
  --weight_decay 0 \
  --loss psnr \
  --clip_norm 50 \
  --learning_rate 1e-3 \
  --warmup_steps 50 \
  --ema 0.998 \
  --validate_every 600 \
  --validation_dataset rain800,synthetic_rain/mixed \
  --validation_images 55 \
  --checkpoint_every 300 \
  --seed 4 \
  --cache_mb 8000 \
  --init_weights runs/nano/model.weights.h5

mspfn train \
  --preset mspfn_nano \
  --teacher runs/mobile2/model.weights.h5 \
  --dataset rain800:3,synthetic_rain/light:3,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --data_dir tfds \
  --workdir runs/nano3 \
  --steps 3000 \
  --batch_size 8 \
  --patch_size 96 \
  --optimizer muon \
  --weight_decay 0 \
  --loss psnr \
  --clip_norm 50 \
  --learning_rate 1e-3 \
  --warmup_steps 50 \
  --ema 0.998 \
  --validate_every 1000 \
  --validation_dataset rain800,synthetic_rain/mixed \
  --validation_images 55 \
  --checkpoint_every 300 \
  --seed 5 \
  --cache_mb 8000 \
  --init_weights runs/nano2/model.weights.h5
