/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "channel.h"
#include "crew_private.h"
#include "gm_cleanup.h"

void gm_janitors_init(struct gm_janitors *janitors)
{
	*janitors = (struct gm_janitors){ .channel = -1 };
}

static int take_waiting(struct gm_janitors *janitors)
{
	int fd = janitors->waiting[janitors->first];

	janitors->first = (janitors->first + 1) % GM_JANITORS_WAITING_MAX;
	janitors->n_waiting--;
	return fd;
}

void gm_janitors_done(struct gm_janitors *janitors)
{
	while (janitors->n_waiting > 0)
		gm_fd_close(take_waiting(janitors));
	gm_fd_close(gm_take_fd(&janitors->channel));
}

/* 0; -EAGAIN: there may be no more of them now; or -errno. */
static int hire(struct gm_crew_hub *hub)
{
	struct gm_janitors *janitors = &hub->janitors;
	int r;

	if (janitors->n == GM_JANITORS_MAX)
		return -EAGAIN;
	r = gm_spawner_request(hub->spawner, ++hub->last_tag, NULL, &janitors->channel);
	if (r == 0)
		janitors->tags[janitors->n++] = hub->last_tag;
	return r;
}

static int send_fd(struct gm_crew_hub *hub, int fd)
{
	const struct gm_job_dispose packet = { 0 };
	int r = hub->janitors.channel < 0 ? hire(hub) : 0;

	if (r != 0)
		return r;
	return gm_channel_send(hub->janitors.channel, &packet, sizeof(packet), fd, MSG_DONTWAIT);
}

/* It has died, of an OOM killer maybe; or it is behind, and there may be another one. */
static bool is_to_be_replaced(const struct gm_janitors *janitors, int error)
{
	return error == -EPIPE || error == -ECONNRESET ||
	       (error == -EAGAIN && janitors->n < GM_JANITORS_MAX);
}

/* Takes @fd, unless it is -EAGAIN. One that is let go closes what it has been given, and ends. */
static int hand_over(struct gm_crew_hub *hub, int fd)
{
	struct gm_janitors *janitors = &hub->janitors;
	bool had_one = janitors->channel >= 0;
	int r = send_fd(hub, fd);

	if (had_one && is_to_be_replaced(janitors, r)) {
		gm_fd_close(gm_take_fd(&janitors->channel));
		r = send_fd(hub, fd);
	}
	if (r == -EAGAIN && !hub->broken)
		return r;
	/* Where that does not work, the close takes the time that it takes. */
	gm_fd_close(fd);
	return 0;
}

bool gm_janitors_turn(struct gm_crew_hub *hub)
{
	struct gm_janitors *janitors = &hub->janitors;

	while (janitors->n_waiting > 0) {
		if (hand_over(hub, janitors->waiting[janitors->first]) != 0)
			return false;
		(void)take_waiting(janitors);
	}
	return true;
}

bool gm_janitor_ended(struct gm_crew_hub *hub, uint64_t tag)
{
	struct gm_janitors *janitors = &hub->janitors;

	for (uint32_t i = 0; i < janitors->n; i++) {
		if (janitors->tags[i] != tag)
			continue;
		janitors->tags[i] = janitors->tags[--janitors->n];
		if (janitors->n_waiting > 0)
			gm_hub_kick(hub);
		return true;
	}
	return false;
}

void gm_crew_hub_dispose(struct gm_crew_hub *hub, int fd)
{
	struct gm_janitors *janitors = &hub->janitors;
	uint32_t last;

	if (gm_janitors_turn(hub) && hand_over(hub, fd) == 0)
		return;
	if (janitors->n_waiting == GM_JANITORS_WAITING_MAX) {
		gm_fd_close(fd);
		return;
	}
	last = (janitors->first + janitors->n_waiting++) % GM_JANITORS_WAITING_MAX;
	janitors->waiting[last] = fd;
	/* A report of the spawner comes too: one of them ends. */
	gm_hub_kick(hub);
}
