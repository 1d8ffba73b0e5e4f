#!/bin/sh
# The mspfn_mobile of version 0.1.0 (four blocks, attention of each block), whose runs came one
# after the other on one CPU core: 92, 63 and 97 minutes.
set -e

train() {
  mspfn train \
    --preset mspfn_mobile \
    --data_dir tfds \
    --learning_rate 1e-3 \
    --validate_every 1000 \
    --checkpoint_every 250 \
    "$@"
}

train_on() {
  train \
    --optimizer muon \
    --weight_decay 0 \
    --loss psnr \
    --clip_norm 50 \
    --warmup_steps 100 \
    --validation_dataset rain800,synthetic_rain/mixed \
    --validation_images 55 \
    --cache_mb 8000 \
    "$@"
}

train \
  --workdir runs/mobile \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --steps 10000 \
  --batch_size 16 \
  --patch_size 64,96 \
  --warmup_steps 300 \
  --ema 0.998 \
  --seed 1

train_on \
  --workdir runs/mobile1 \
  --init_weights runs/mobile/model.weights.h5 \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --steps 5500 \
  --batch_size 8 \
  --patch_size 128,160 \
  --ema 0.998 \
  --seed 5

train_on \
  --workdir runs/mobile2 \
  --init_weights runs/mobile1/model.weights.h5 \
  --dataset rain800:5,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --steps 9000 \
  --batch_size 4 \
  --patch_size 192 \
  --ema 0.999 \
  --seed 6
