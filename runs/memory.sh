#!/usr/bin/env bash
# What the memory brings: short trainings that start from the same weights, take in the same number of frames and
# differ in one thing; each is then scored with a memory of 1 frame (no memory), 8 and 32.
#
#   bash runs/memory.sh WEIGHTS OUTPUT     about an hour on two CPU cores, for weights of the preset `tiny`
#
# Scored is the end of PETS 2009 S2.L1, which the experiment `tiny-person` never trains on.
set -eu

weights=$1
output=$2
data=${DATA:-../shared/data}
steps=${STEPS:-150}  # of 16 frames

# train NAME LENGTH [key=value ...]: clips of LENGTH frames, 16 frames per step
train() {
  name=$1 length=$2
  shift 2
  batch=$((16 / length))
  epochs=$(awk "BEGIN {print $steps * $batch / 2260}")  # the experiment has 2260 clips per epoch
  part=$(awk "BEGIN {print $epochs / 8}")
  svit train tiny-person output="$output/$name" model.name="$name" model.start="$weights" data.root="$data" \
    data.clip.length="$length" batch="$batch" schedule.epochs="$epochs" schedule.warm_up_epochs="$part" \
    schedule.constant_epochs="$part" schedule.plain_epochs=0 optimiser.rate=3e-4 average=0.02 average_warm_up=50 "$@"
  for memory in 1 8 32; do
    svit eval "$data/tracking/train/PETS09-S2L1-A" --part 281-397 --checkpoint "$output/$name/$name.safetensors" \
      --memory "$memory" -o "$output/$name/memory-$memory" --json > "$output/$name/memory-$memory.json"
  done
}

train still 1                                                     # never a second frame
train clip2 2
train clip4 4
train clip8 8
train detached 4 model.settings.encoder__memory_gradient=false    # no gradient through keys and values (official)
train fifo 4 model.settings.encoder__eviction=fifo                # the oldest frame is dropped, not averaged
