#!/usr/bin/env bash
# The paper's run for MOT17, from the downloaded data sets to the scores: prepare, check, train, evaluate.
#
#     GPUS=8 runs/mot17.sh
#
# Started again it goes on: what is prepared is not prepared again, and the training continues at its last checkpoint.
# What each step needs in disk, hours and memory is in docs/reproducing.md; try runs/cpu.sh first.
#
# Beforehand, by you: the data sets and weights below. svit downloads nothing, and each of them has terms of its own,
# most of them research only.
#
#   MOT17        motchallenge.net, data, MOT17: MOT17.zip
#   CrowdHuman   crowdhuman.org, download: annotation_*.odgt, CrowdHuman_train01-03.zip, CrowdHuman_val.zip
#   MOTSynth     motchallenge.net, data, MOTSynth-MOT-CVPR22: MOTSynth_1-3.zip, MOTSynth_coco_annotations.zip
#   CLIP         github.com/openai/CLIP: clip/clip.py has the address of ViT-B-16.pt
#
#   data/
#     MOT17/train/MOT17-02-DPM/{img1,gt,det,seqinfo.ini} ...      all three copies of each sequence, as in the archive
#     crowdhuman/annotation_train.odgt, annotation_val.odgt
#     crowdhuman/train/CrowdHuman_train01.zip ...                 or unpacked: crowdhuman/train/Images/*.jpg
#     crowdhuman/val/CrowdHuman_val.zip                           or unpacked: crowdhuman/val/Images/*.jpg
#     MOTSynth/videos/000.mp4 ...                                 of all three archives, in one folder
#     MOTSynth/annotations/000.json ...
#   checkpoints/ViT-B-16.pt
set -eu

data=${DATA:-data}                        # the folder of the data sets
clip=${CLIP:-checkpoints/ViT-B-16.pt}     # the weights to start from
output=${OUTPUT:-outputs/mot17-base}      # everything is written here
gpus=${GPUS:-8}                           # of this machine; 16 clips per step are dealt out to 1, 2, 4, 8 or 16

need() {
  if ! [ -e "$1" ]; then
    echo "runs/mot17.sh: $1 is not there; the head of this file says where to get it" >&2
    exit 1
  fi
}
need "$data/MOT17/train"
need "$data/crowdhuman/annotation_train.odgt"
need "$data/crowdhuman/annotation_val.odgt"
need "$data/MOTSynth/videos"
need "$data/MOTSynth/annotations"
need "$clip"
case $gpus in
  1 | 2 | 4 | 8) accumulate=$((8 / gpus)) batch=2 ;;
  16) accumulate=1 batch=1 ;;
  *) echo "runs/mot17.sh: GPUS=$gpus does not divide 16 clips; choose 1, 2, 4, 8 or 16" >&2; exit 2 ;;
esac

# 1. CrowdHuman: unpacked, and its annotations as COCO.
if ! [ -e "$data/crowdhuman/annotations/crowdhuman_val.json" ]; then
  extract=--extract
  if [ -d "$data/crowdhuman/train/Images" ] && [ -d "$data/crowdhuman/val/Images" ]; then extract=; fi
  svit prepare crowdhuman -i "$data/crowdhuman" -o "$data/crowdhuman/annotations" $extract
fi

# 2. MOT17: each sequence cut in two halves; the first is trained on, the second scores.
if ! [ -e "$data/MOT17/annotations/half-val_cocoformat.json" ]; then
  svit prepare mot -i "$data/MOT17" -o "$data/MOT17/annotations" --split-train --convert-det
fi

# 3. MOTSynth: 1.38 million frames out of their videos, the longest step; it goes on where it was stopped. To train from
#    the videos instead, without a quarter of a terabyte of images but with more work for the processors: leave out this
#    step, give step 4 `--videos "$data/MOTSynth/videos"`, and step 6 data.sources.0.images=MOTSynth/videos.
svit prepare motsynth-frames -i "$data/MOTSynth/videos" -o "$data/MOTSynth/train"

# 4. MOTSynth's annotations as one file.
if ! [ -e "$data/MOTSynth/all_cocoformat.json" ]; then
  svit prepare motsynth --annotations "$data/MOTSynth/annotations" -o "$data/MOTSynth/all_cocoformat.json"
fi

# 5. Look before the long run: what is in the files, and pictures of it. What is found wrong (boxes beyond their images,
#    for one) is told and does not stop this script; images that are missing are what to look for.
for file in MOT17/annotations/half-train_cocoformat MOT17/annotations/half-val_cocoformat \
  crowdhuman/annotations/crowdhuman_train crowdhuman/annotations/crowdhuman_val MOTSynth/all_cocoformat; do
  svit prepare check "$data/$file.json" --sample 2000 --preview "$data/$file.png" || true
done
mkdir -p "$output"
svit train mot17-base "data.root=$data" "model.start=$clip" --preview "$output/clips.png"

# 6. Train: 10 epochs, scored after each; best.safetensors are the weights with the best HOTA. Where memory is short,
#    add checkpointing=true: the same numbers for less memory and about a third more time.
torchrun --standalone --nproc-per-node "$gpus" -m svit.cli train mot17-base "output=$output" \
  "data.root=$data" "model.start=$clip" "batch=$batch" "accumulate=$accumulate"

# 7. Evaluate the best on the second halves, with all tables and the report.
torchrun --standalone --nproc-per-node "$gpus" -m svit.cli eval mot17-half --data "$data/MOT17" \
  --checkpoint "$output/best.safetensors" -o "$output/best"
