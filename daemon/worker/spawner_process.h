/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens inside the spawner's process, and what it is told.
 */
#ifndef GM_SPAWNER_PROCESS_H
#define GM_SPAWNER_PROCESS_H

#include "spawner.h"

enum gm_spawner_verb {
	GM_SPAWNER_START, /* with the worker's end of its channel */
	GM_SPAWNER_KILL,
};

struct gm_spawner_request_packet {
	uint64_t tag;
	uint32_t verb;
	uint32_t may_stay; /* bool */
	uint32_t alone;	   /* bool */
	uint32_t reserved;
	uint32_t n_place;
	char place[GM_CGROUP_PLACE_MAX]; /* of gm_cgroup_place; the packet is cut after it */
};

/*
 * The rest of the life of the forked process. First packet on @socket: a report with tag 0 and the
 * outcome of the start in `error`.
 */
void gm_spawner_process(const struct gm_spawner_config *config, int socket, pid_t parent)
	__attribute__((noreturn));

#endif
