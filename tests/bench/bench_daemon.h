/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gmemd of our own in a folder of its own, under --sandbox=enforce. It ends, and the folder goes,
 * when it is stopped or this program ends, however that may be.
 */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include <sys/types.h>

#include "bench.h"

struct bench_daemon {
	char folder[64];
	char socket[96];    /* of the tenant "bench" */
	char neighbour[96]; /* of another tenant, which has rates */
	char policy[96];
	char rates[96];
	const char *cgroup_root; /* NULL: the host's */
	pid_t guard;
	int alive; /* the guard waits for its end to close */
	pid_t pid; /* of the process that answers */
};

#define BENCH_DAEMON_NULL ((struct bench_daemon){ .alive = -1 })

/*
 * Returns when it answers, on @cpu (-1: any). @kept: with --keep, its keeper on the same CPU.
 * 0 or -errno; says why on stderr.
 */
int bench_daemon_start(const struct bench_options *options, int cpu, bool kept,
		       struct bench_daemon *daemon);

/* 0 when it has ended well: with its ledger at zero. Idempotent; safe on BENCH_DAEMON_NULL. */
int bench_daemon_stop(struct bench_daemon *daemon);

/* What the process @pid has resident. 0 or -errno. */
int bench_resident_bytes(pid_t pid, uint64_t *ret_bytes);

#endif
