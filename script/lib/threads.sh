# OpenMP for the launchers; sourced before Python loads it. Threads that wait without spinning: a busy neighbour then costs
# the cores it takes, not ten times that. They must not be bound to cores (OMP_PROC_BIND): the first would be, and every
# thread that Python starts, the engine's among them, inherits its one core.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
