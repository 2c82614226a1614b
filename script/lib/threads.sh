# OpenMP for the launchers; sourced before Python loads it. Threads that wait look for work for a moment, about as
# long as it takes to the next operation, and then sleep: a busy neighbour costs the cores it takes, not ten times that. They
# must not be bound to cores (OMP_PROC_BIND): the first would be, and every thread that Python starts, the engine's among
# them, inherits its one core.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
if [ "$OMP_WAIT_POLICY" = passive ]; then export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-5000}; fi
