#!/usr/bin/env bash
# Fight or no fight, with and without a memory: the experiment fight with several seeds, and again with a memory of one
# frame; each scored on its validation split. Two minutes for each training on one core, then a table.
#
#   bash runs/fight.sh CLIPS OUTPUT     CLIPS holds a folder for each class, and clips.csv with the split
set -eu

clips=$1
output=$2
seeds=${SEEDS:-1 2 3 4 5}

[ -f "$output/fight.json" ] || svit prepare video-folder -i "$clips" -o "$output/fight.json" --flip any
for memory in 8 1; do
  for seed in $seeds; do
    run=$output/memory-$memory/$seed
    svit train fight "data.root=$output" "output=$run" "seed=$seed" "model.settings.encoder.memory=$memory"
    svit eval "$output/fight.json" --checkpoint "$run/fight.safetensors" -o "$run/scores" > /dev/null
  done
done
for seed in $seeds; do  # trained with a memory, scored without
  run=$output/memory-8/$seed
  svit eval "$output/fight.json" --checkpoint "$run/fight.safetensors" --memory 1 -o "$output/cut/$seed/scores" > /dev/null
done
python runs/fight.py "$output"/{memory-8,cut,memory-1}
