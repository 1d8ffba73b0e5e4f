#!/bin/sh
# The mspfn_nano of version 0.1.0: three runs on one CPU core, 20, 8 and 19 minutes. The teacher is the
# mspfn_mobile of version 0.1.0 (docs/recipes/mspfn_mobile_0.1.0.sh).
set -e

train() {
  mspfn train \
    --preset mspfn_nano \
    --data_dir tfds \
    --batch_size 8 \
    --optimizer muon \
    --weight_decay 0 \
    --loss psnr \
    --clip_norm 50 \
    --ema 0.998 \
    --validation_dataset rain800,synthetic_rain/mixed \
    --validation_images 55 \
    --cache_mb 8000 \
    "$@"
}

train \
  --workdir runs/nano \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --steps 9000 \
  --patch_size 64,96,128 \
  --learning_rate 2e-3 \
  --warmup_steps 100 \
  --validate_every 1000 \
  --checkpoint_every 500 \
  --seed 3

train_with_teacher() {
  train \
    --teacher runs/mobile2/model.weights.h5 \
    --patch_size 96 \
    --learning_rate 1e-3 \
    --warmup_steps 50 \
    --checkpoint_every 300 \
    "$@"
}

train_with_teacher \
  --workdir runs/nano2 \
  --init_weights runs/nano/model.weights.h5 \
  --dataset rain800:3,synthetic_rain/light:1,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --steps 2400 \
  --validate_every 600 \
  --seed 4

train_with_teacher \
  --workdir runs/nano3 \
  --init_weights runs/nano2/model.weights.h5 \
  --dataset rain800:3,synthetic_rain/light:3,synthetic_rain/mixed:2,synthetic_rain/heavy:1 \
  --steps 3000 \
  --validate_every 1000 \
  --seed 5
