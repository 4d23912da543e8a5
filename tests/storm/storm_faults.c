/* SPDX-License-Identifier: Apache-2.0 */
#include "storm_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GMEMD_FAULTS
#include "gm_cleanup.h"
#include "gm_fault.h"

/* A point that was armed so often and never hit is tried less often. */
#define TRIES_WEIGHT 4

static struct gm_fault_page *page;
static bool vmms, launches;
static unsigned tries[GM_FAULT_POINTS_MAX];

/* Points that only a daemon without a record passes, or one that stops: the end has its own turn.
 */
static bool is_special(unsigned index)
{
	const char *name = page->points[index].name;

	return strcmp(name, "start: maps stored") == 0 ||
	       strcmp(name, "start: state stored") == 0 || strncmp(name, "stop:", 5) == 0;
}

static bool begins(unsigned index, const char *prefix)
{
	return strncmp(page->points[index].name, prefix, strlen(prefix)) == 0;
}

/* What only steps lead to. */
static bool is_of_steps(unsigned index)
{
	return begins(index, "half:") || begins(index, "freeing:") || begins(index, "report:") ||
	       begins(index, "launch:");
}

/* The storm has no guests that gmemd launches itself: tests/integration/test_own_launch.py. */
static bool is_elsewhere(unsigned index)
{
	return begins(index, "launch: in the fd store") || (begins(index, "launch:") && !launches);
}

/* VMMs try the others, too, but need not come by each. */
static bool is_tried(unsigned index)
{
	if (is_special(index) || is_elsewhere(index))
		return false;
	return vmms || !is_of_steps(index);
}

static bool is_owed(unsigned index)
{
	return is_tried(index) && vmms == is_of_steps(index);
}

void storm_faults_choose(bool is_private, bool has_launches)
{
	vmms = is_private;
	launches = has_launches;
}

int storm_faults_open(const char *path)
{
	_gm_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *at;

	if (fd < 0 || ftruncate(fd, sizeof(*page)) < 0)
		return -errno;
	at = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	page = at;
	return 0;
}

unsigned storm_faults_count(void)
{
	return atomic_load(&page->n_points);
}

/* Some are visited only after a death in a certain place. */
static const struct {
	const char *point;
	const char *first;
} chains[] = {
	{ "recovery: copied", "log: copied" },
	{ "repeat: found", "answer: recorded" },
	{ "restore: one of the rest removed", "region: in the fd store" },
};

static unsigned find(const char *name)
{
	unsigned n = storm_faults_count(), i = 0;

	while (i < n && strcmp(page->points[i].name, name) != 0)
		i++;
	return i;
}

/* What must be hit before @index is visited; itself where nothing must. */
static unsigned first_of(unsigned index)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(chains); i++)
		if (strcmp(chains[i].point, page->points[index].name) == 0)
			return find(chains[i].first);
	return index;
}

static void arm(unsigned index, unsigned nth)
{
	unsigned first = first_of(index);

	tries[index]++;
	atomic_store(&page->countdown, nth);
	atomic_store(&page->then, first == index ? 0 : index + 1);
	atomic_store(&page->armed, first + 1);
}

static enum storm_aim aim_of(unsigned index)
{
	if (first_of(index) != index)
		return STORM_AIM_WAIT;
	if (begins(index, "guard:"))
		return STORM_AIM_KILL_BOTH;
	if (begins(index, "start:") || begins(index, "restore:") || begins(index, "resume:"))
		return STORM_AIM_KILL;
	return STORM_AIM_WAIT;
}

static unsigned long long cost(unsigned index)
{
	return atomic_load(&page->points[index].kills) * TRIES_WEIGHT + tries[index];
}

enum storm_aim storm_faults_arm(struct storm_rng *rng)
{
	unsigned n = storm_faults_count();
	unsigned first = (unsigned)storm_pick(rng, n), best = first;

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (first + i) % n;

		if (is_tried(at) && (!is_tried(best) || cost(at) < cost(best)))
			best = at;
	}
	/* Later visits meet other states, but not every point has many. */
	arm(best, tries[best] % 2 ? 1 + (unsigned)storm_pick(rng, 20) : 1);
	return aim_of(best);
}

bool storm_faults_arm_start(unsigned nth)
{
	unsigned n = storm_faults_count();

	for (unsigned i = 0; i < n; i++) {
		if (!is_special(i) || nth-- > 0)
			continue;
		arm(i, 1);
		return true;
	}
	return false;
}

bool storm_faults_are_armed(void)
{
	return atomic_load(&page->armed) != 0;
}

void storm_faults_disarm(void)
{
	atomic_store(&page->then, 0);
	atomic_store(&page->armed, 0);
}

unsigned long long storm_faults_kills(void)
{
	unsigned long long kills = 0;

	for (unsigned i = 0; i < storm_faults_count(); i++)
		kills += atomic_load(&page->points[i].kills);
	return kills;
}

bool storm_faults_were_all_hit(void)
{
	for (unsigned i = 0; i < storm_faults_count(); i++)
		if (is_owed(i) && atomic_load(&page->points[i].kills) == 0)
			return false;
	return true;
}

unsigned storm_faults_print(void)
{
	unsigned missed = 0;

	printf("%-36s %10s %10s\n", "fault point", "visits", "kills");
	for (unsigned i = 0; i < storm_faults_count(); i++) {
		unsigned long long kills = atomic_load(&page->points[i].kills);
		bool is_missed = kills == 0 && is_owed(i);

		printf("%-36s %10llu %10llu%s\n", page->points[i].name,
		       (unsigned long long)atomic_load(&page->points[i].visits), kills,
		       is_missed ? "  NEVER HIT" : "");
		missed += is_missed;
	}
	return missed;
}
