/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM hears from gmemd between two ticks of its guest.
 */
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "tinyvmm.h"

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A guest whose memory is no longer its own must not run on; without gmemd it can. */
static void hear(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct machine *machine = arg;

	(void)domain;
	switch (type) {
	case GMEM_EVENT_RECONNECTED:
		fprintf(stderr, "tinyvmm: gmemd was away and is back\n");
		break;
	case GMEM_EVENT_SHUTDOWN:
		fprintf(stderr, "tinyvmm: gmemd stops in %llu ms; the guest runs on\n",
			(unsigned long long)value);
		break;
	case GMEM_EVENT_DISCONNECTED:
		fprintf(stderr, "tinyvmm: gmemd is gone; the guest runs on\n");
		machine->alone = true;
		break;
	default:
		fprintf(stderr, "tinyvmm: the memory is no longer this guest's\n");
		machine->lost = true;
		break;
	}
}

void machine_listen(struct machine *machine, gmem_client *client)
{
	machine->client = client;
	gmem_client_on_event(client, hear, machine);
}

bool machine_pause(struct machine *machine)
{
	struct pollfd fd = { .fd = gmem_client_fd(machine->client), .events = POLLIN };
	uint64_t now = now_ms();
	uint64_t end = now + machine->tick_ms;

	/* Once more at the end, so that a guest without pauses hears too. */
	do {
		fd.fd = machine->alone ? -1 : fd.fd;
		if (poll(&fd, 1, (int)(end - now)) > 0)
			(void)gmem_dispatch(machine->client);
		now = now_ms();
	} while (now < end && !machine->lost);
	return !machine->lost;
}
