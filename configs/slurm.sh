#!/bin/bash
# Pretrain on two nodes of four GPUs under SLURM, as often as the time limit asks for. From the checkout:
#   sbatch configs/slurm.sh configs/base.yaml --data.path $SCRATCH/reviews.parquet --output_dir $SCRATCH/runs/base
# The output folder and HF_DATASETS_CACHE must be on a disk that all nodes see.
#SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8 --time=04:00:00
#SBATCH --open-mode=append --requeue --signal=TERM@120

# srun starts one process per GPU, so no launcher hides their exit code
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# one port per job, because jobs may have a node in common
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
export WORLD_SIZE=$SLURM_NTASKS
srun --kill-on-bad-exit=1 bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec python scripts/pretrain.py "$@"' \
    pretrain "$@" --resume
code=$?
# the run was stopped by SIGTERM (143) or SIGUSR1 (138) after a checkpoint; any other code is an end or an error
if [[ $code == 143 || $code == 138 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
