#!/bin/sh
# The shipped mspfn_nano, from that of version 0.1.0 (docs/recipes/mspfn_nano_0.1.0.sh).
#
# Data, streaks: those of docs/recipes/mspfn_mobile.sh. Two runs on 2 CPU cores (AVX2, float32), shared
# with other work: 67 and 31 minutes. Expected on the validation blend: see docs/models.md.
set -e
export TF_ENABLE_ONEDNN_OPTS=1
mixed=synthetic_rain/mixed

python -m tools.warm_start mspfn_nano_0.1.0.weights.h5 mspfn_nano runs/warm_nano.weights.h5

train() {
  mspfn train --preset mspfn_nano --data_dir tfds \
    --dataset rain800:3,rain100l/old_validated:2,rain100h/old_validated:0.5,rain1400/published_validated:1,$mixed:1.5 \
    --batch_size 8 --optimizer muon --weight_decay 0 --loss psnr --ssim_weight 10 --clip_norm 50 \
    --fresh_rain 0.2 --streaks streaks --symmetries upright --cache_mb 3000 \
    --validation_dataset rain800,rain100l/old_validated,rain1400/published_validated,$mixed \
    --validation_images 40 "$@"
}

train --workdir runs/nano1 --steps 8000 --patch_size 128,128,192,256 --learning_rate 2e-3 \
  --warmup_steps 100 --ema 0.999 --seed 21 --validate_every 1000 --init_weights runs/warm_nano.weights.h5

# Some patches without rain, so that clean pictures stay what they are.
train --workdir runs/nano2 --steps 1500 --patch_size 192 --learning_rate 1e-3 --warmup_steps 50 \
  --ema 0.997 --clean_share 0.15 --seed 22 --validate_every 500 --init_weights runs/nano1/best.weights.h5
