# OpenMP for one server on a machine; sourced by the launchers, before Python loads it.
# Threads that wait without spinning and stay on their cores: a busy neighbour then costs the cores it takes, not ten
# times that. Bound threads of two processes would share a core, so they are bound only where all cores are this one's:
# no thread count asked for, no CPU quota. Set OMP_PROC_BIND=false to run two servers on one machine.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
if [ -z "${OMP_PROC_BIND:-}${OMP_NUM_THREADS:-}${INDEXTTS_THREADS:-}" ] \
    && { [ ! -r /sys/fs/cgroup/cpu.max ] || grep -q '^max' /sys/fs/cgroup/cpu.max; }; then
  export OMP_PROC_BIND=true
fi
