/* SPDX-License-Identifier: Apache-2.0 */
#include "resume_case.h"

#include <string.h>

struct resume_rig rig;
struct peer peer;
struct peer other;

void start(void)
{
	memset(&peer, 0, sizeof(peer));
	memset(&other, 0, sizeof(other));
	resume_start(&rig);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

void stop(void)
{
	if (peer.link != NULL)
		peer_close(&peer);
	resume_stop(&rig);
}

void restart(void)
{
	resume_kill(&rig);
	if (peer.link != NULL)
		resume_forget(&peer);
	resume_restart(&rig);
}

void restart_and_resume(void)
{
	restart();
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

uint64_t used(enum gm_resource resource)
{
	return rig.rig.acme->account.used[resource];
}
