#!/bin/sh
# Does training for the task pay? A preset, fine-tuned on CamVid in synthetic rain: plainly, and
# with the loss of ESPNet on the derained patches. Both see the same patches in the same rain.
#
#     sh docs/recipes/camvid_task.sh FOLDER OUTPUT [PRESET [STEPS]]
#
# FOLDER holds camvid_train, camvid_validation (images/ and labels/) and the authors'
# espnet_p_2_q_8_camvid.pth. Needs the extra `tasks`, and once PyTorch. Run again, it goes on.
# PRESET is mspfn_mobile and STEPS 1500 if they are left out, which takes an hour on two cores.
set -eu
folder=$1 output=$2 preset=${3:-mspfn_mobile} steps=${4:-1500}
mkdir -p "$output"
[ -f "$output/espnet.weights.h5" ] || python -m tools.convert_espnet \
    "$folder/espnet_p_2_q_8_camvid.pth" "$output/espnet.weights.h5"
[ -d "$output/tfds/camvid" ] || python -m mspfn_tf prepare camvid \
    --manual_dir "$folder" --data_dir "$output/tfds"

train() {
    name=$1
    shift
    python -m mspfn_tf train --preset "$preset" --init_weights "$preset" \
        --dataset camvid --data_dir "$output/tfds" --workdir "$output/$name" \
        --fresh_rain 1 --symmetries upright --steps "$steps" --patch_size 192 --batch_size 8 \
        --optimizer muon --weight_decay 0 --learning_rate 5e-4 --warmup_steps 50 --ema 0.99 \
        --clip_norm 50 --loss psnr --seed 5 --validate_every 300 --validation_images 48 "$@"
}

score() {
    name=$1
    shift
    python -m mspfn_tf evaluate-task --task segmentation --rain mixed \
        --pictures "$folder/camvid_validation/images" \
        --labels "$folder/camvid_validation/labels" --void 11 \
        --model_for_task "$output/espnet.weights.h5" --adapter espnet \
        --output "$output/scores_$name" "$@"
}

train plain
train task --task segmentation --task_model espnet --task_terms labels --task_void 11 \
    --task_model_weights "$output/espnet.weights.h5" --task_weight 20
score shipped --preset "$preset"
score plain --model "$output/plain/model.weights.h5"
score task --model "$output/task/model.weights.h5"
