#!/usr/bin/env bash
# A program on all hosts of an allocation: sbatch --nodes=4 --ntasks-per-node=1 --exclusive deploy/slurm.sh ./program
# The first host also runs the server and the program. Needs nats-server there.
#SBATCH --ntasks-per-node=1
set -euo pipefail

program=$(realpath "$1")
shift
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
url="nats://$token@$(hostname):4222"
store=$(mktemp -d)
config=$store/server.conf
# The token is in a file, since all users can read the arguments of a process.
(
    umask 077
    printf 'authorization { token: "%s" }\njetstream { store_dir: "%s" }\n' "$token" "$store" >"$config"
)
nats-server -c "$config" >"$store/log" 2>&1 &
server=$!
# An agent that ends must not end the others.
PROCESSION_AGENT=$url PROCESSION_WORKERS=${SLURM_CPUS_ON_NODE:?run it by sbatch} srun --kill-on-bad-exit=0 --export=ALL "$program" &
agents=$!
trap 'kill "$agents" "$server" 2>/dev/null || true; wait; rm -rf "$store"' EXIT
PROCESSION_CLUSTER=$url "$program" "$@"
