#!/bin/sh
# Installs SLURM and munge where they are missing and can be; otherwise says so and stops. Starts nothing.
set -e
missing=
for program in munged slurmctld slurmd sbatch srun scontrol; do
    PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
stop() {
    echo "SLURM is not here (missing:$missing) and $1. Nothing was tested." >&2
    exit 1
}
command -v apt-get >/dev/null || stop "this system has no apt-get: install slurm and munge with its own package manager"
[ "$(id -u)" -eq 0 ] || stop "only root can install it: sudo apt-get install slurm-wlm munge"
echo "Installing slurm-wlm and munge ..."
apt-get update -qq || stop "the package lists cannot be fetched"
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null ||
    stop "apt-get cannot install slurm-wlm and munge"
