#!/bin/sh
# The tables of docs/tasks.md, once more: some ten minutes on two cores.
#
#     sh docs/recipes/tasks.sh FOLDER OUTPUT [PRESET...]
#
# FOLDER holds coco/{images,annotations.json}, yolox_nano.onnx, camvid_validation/{images,labels}
# and the authors' espnet_p_2_q_8_camvid.pth. Needs the extra `tasks`, and once PyTorch.
set -eu
folder=$1 output=$2
shift 2
[ $# -gt 0 ] || set -- mspfn_mobile mspfn_nano
[ -f "$output/espnet.weights.h5" ] || { mkdir -p "$output"; python -m tools.convert_espnet \
    "$folder/espnet_p_2_q_8_camvid.pth" "$output/espnet.weights.h5"; }
for preset in "$@"; do
    for rain in mixed heavy; do
        python -m mspfn_tf evaluate-task --task detection --preset "$preset" --rain $rain \
            --pictures "$folder/coco/images" --labels "$folder/coco/annotations.json" \
            --model_for_task "$folder/yolox_nano.onnx" --adapter yolox \
            --output "$output/detection-$rain-$preset"
        python -m mspfn_tf evaluate-task --task segmentation --preset "$preset" --rain $rain \
            --pictures "$folder/camvid_validation/images" \
            --labels "$folder/camvid_validation/labels" --void 11 \
            --model_for_task "$output/espnet.weights.h5" --adapter espnet \
            --output "$output/segmentation-$rain-$preset"
        for task in detection segmentation; do
            cp "$output/$task-$rain-$preset/task_scores.json" \
                "docs/task_results/$task-$rain-$preset.json"
        done
    done
done
python -m tools.task_tables docs/tasks.md
