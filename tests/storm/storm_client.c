/* SPDX-License-Identifier: Apache-2.0 */
#include "storm_client.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_fd.h"
#include "gm_verdict.h"

/* ---- memory ---- */

static void forget_place(struct storm_place *place)
{
	if (place->region && place->fd >= 0) {
		(void)munmap(place->at, place->size);
		gm_fd_close(place->fd);
	}
	*place = (struct storm_place){ .fd = -1 };
}

void storm_self_forget(struct storm_self *self, const struct storm_domain *domain)
{
	size_t index = storm_domain_index(domain);

	self->held[index] = 0;
	for (unsigned i = 0; i < STORM_REGIONS; i++)
		forget_place(&self->places[index][i]);
}

static bool take_memory(struct storm_self *self, const struct storm_op *op, uint64_t id)
{
	struct storm_place *place = storm_place_of(self, op->domain, op->region);
	struct stat file;

	*place = (struct storm_place){ .region = id, .fd = op->fd, .size = op->region->size };
	place->at = op->at;
	if (op->fd < 0)
		return true;
	place->at = mmap(NULL, place->size, PROT_READ | PROT_WRITE, MAP_SHARED, op->fd, 0);
	if (place->at == MAP_FAILED || fstat(op->fd, &file) < 0 ||
	    (uint64_t)file.st_size != place->size) {
		storm_fail("client %u: region %016" PRIx64 ": its memory cannot be mapped",
			   self->index, id);
		return false;
	}
	place->inode = file.st_ino;
	return true;
}

/* ---- answers ---- */

static bool refused(const struct storm_self *self, const struct storm_op *op)
{
	static const char *const verbs[STORM_VERBS] = {
		"PING",		 "DOMAIN_CREATE", "DOMAIN_ATTACH",  "DOMAIN_GET", "DOMAIN_DESTROY",
		"REGION_CREATE", "REGION_GET",	  "REGION_DESTROY", "REGION_MAP", "a job",
		"CANCEL",	 "LIST",	  "STATS",	    "MEMLOCK",
	};

	storm_fail("client %u (%s): %s of domain %s was refused: %s", self->index,
		   self->link.ops->batch_max > 1 ? "raw" : "libgmem", verbs[op->verb],
		   op->domain ? op->domain->name : "-", op->refusal);
	return false;
}

static bool settle_create(struct storm_self *self, const struct storm_op *op)
{
	op->domain->id = op->id;
	op->domain->token = op->token;
	self->held[storm_domain_index(op->domain)] = op->id;
	atomic_store(&op->domain->attached, true);
	atomic_store(&op->domain->state, STORM_LIVE);
	return true;
}

static bool settle_destroy(struct storm_self *self, const struct storm_op *op)
{
	size_t index = storm_domain_index(op->domain);

	storm_self_forget(self, op->domain);
	storm_domain_reset(op->domain);
	if (index >= (size_t)STORM_CLIENTS_MAX * STORM_DOMAINS)
		atomic_store(&op->domain->holder, STORM_OFFERED | STORM_NOBODY);
	return true;
}

static bool settle_region(struct storm_self *self, const struct storm_op *op)
{
	op->region->id = op->id;
	if (!take_memory(self, op, op->id))
		return false;
	atomic_store(&op->region->state, STORM_LIVE);
	return true;
}

static bool settle_attach(struct storm_self *self, const struct storm_op *op)
{
	self->held[storm_domain_index(op->domain)] = op->domain->id;
	atomic_store(&op->domain->attached, true);
	/* A grant ends with the session that had it. */
	op->domain->memlock = 0;
	return true;
}

static bool settle_job(struct storm_self *self, const struct storm_op *op)
{
	const struct storm_job *job = &op->region->job;
	uint64_t bytes = 0;

	if (op->status != 0)
		return storm_look_after_job(self, op->domain, op->region);
	for (unsigned i = 0; i < job->n_ranges; i++)
		bytes += job->ranges[i].length;
	if (op->bytes != bytes) {
		storm_fail("client %u: region %016" PRIx64 ": a job of %" PRIu64
			   " bytes was answered with %" PRIu64,
			   self->index, op->region->id, bytes, op->bytes);
		return false;
	}
	storm_job_done(op->region);
	return true;
}

static bool settle(struct storm_self *self, const struct storm_op *op)
{
	bool cancelled = op->verb == STORM_JOB && op->with_cancel && op->status == GM_CANCELLED;

	if (op->status != 0 && !cancelled)
		return refused(self, op);
	switch (op->verb) {
	case STORM_DOMAIN_CREATE:
		return settle_create(self, op);
	case STORM_DOMAIN_ATTACH:
		return settle_attach(self, op);
	case STORM_DOMAIN_DESTROY:
		return settle_destroy(self, op);
	case STORM_REGION_CREATE:
		return settle_region(self, op);
	case STORM_REGION_DESTROY:
		forget_place(storm_place_of(self, op->domain, op->region));
		storm_region_reset(op->region);
		return true;
	case STORM_JOB:
		return settle_job(self, op);
	case STORM_PING:
	case STORM_DOMAIN_GET:
	case STORM_REGION_GET:
	case STORM_REGION_MAP:
	case STORM_CANCEL:
	case STORM_LIST:
	case STORM_STATS:
	case STORM_MEMLOCK:
	case STORM_VERBS:
		break;
	}
	return true;
}

bool storm_self_run(struct storm_self *self, struct storm_op *ops, unsigned n)
{
	if (!self->link.ops->run(&self->link, ops, n))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!settle(self, &ops[i]))
			return false;
	return !atomic_load(&storm->failed);
}

/* ---- sessions ---- */

bool storm_self_attach(struct storm_self *self, struct storm_domain *domain)
{
	struct storm_op attach = { .verb = STORM_DOMAIN_ATTACH, .domain = domain };

	if (!storm_self_run(self, &attach, 1))
		return false;
	for (unsigned i = 0; i < STORM_REGIONS; i++) {
		struct storm_region *region = &domain->regions[i];
		struct storm_op get = { .verb = STORM_REGION_GET,
					.domain = domain,
					.region = region };

		if (!storm_is(&region->state, STORM_LIVE))
			continue;
		if (!storm_self_run(self, &get, 1) || !take_memory(self, &get, region->id))
			return false;
	}
	return storm_look_at_marks(self, domain);
}

static unsigned count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned n = 0;

	while (folder && readdir(folder))
		n++;
	if (folder)
		(void)closedir(folder);
	return n;
}

static unsigned count_places(const struct storm_self *self)
{
	unsigned n = 0;

	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++)
		for (unsigned j = 0; j < STORM_REGIONS; j++)
			n += self->places[i][j].region != 0;
	return n;
}

static bool attach_all(struct storm_self *self)
{
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[i];

		if (atomic_load(&domain->holder) == (int)self->index &&
		    storm_is(&domain->state, STORM_LIVE) && !storm_self_attach(self, domain))
			return false;
	}
	return true;
}

static bool destroy(struct storm_self *self, struct storm_domain *domain)
{
	struct storm_op op = { .verb = STORM_DOMAIN_DESTROY, .domain = domain };

	atomic_store(&domain->state, STORM_DYING);
	return storm_self_run(self, &op, 1);
}

/* Bound ones that are still there when a client goes while gmemd is away would stay with it. */
static bool destroy_all(struct storm_self *self, bool persistent_too)
{
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[i];

		if (storm_is_held(self, domain) && (!domain->persistent || persistent_too) &&
		    !destroy(self, domain))
			return false;
	}
	return true;
}

static void close_session(struct storm_self *self)
{
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[i];

		if (self->held[i] && atomic_load(&domain->holder) == (int)self->index)
			atomic_store(&domain->attached, false);
		storm_self_forget(self, domain);
	}
	/* Should gmemd be away just now, it cannot see that this session ends before we do. */
	atomic_fetch_add(&self->client->sessions, 1);
	self->link.ops->close(&self->link);
}

bool storm_self_check_memlock(const struct storm_self *self)
{
	uint64_t wanted = STORM_MEMLOCK_OWN;
	struct rlimit limit;

	if (!self->may_lock)
		return true;
	for (unsigned i = 0; i < STORM_DOMAINS; i++) {
		struct storm_domain *domain =
			&storm->domains[(size_t)self->index * STORM_DOMAINS + i];

		if (storm_is_held(self, domain))
			wanted += domain->memlock;
	}
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == wanted)
		return true;
	storm_fail("client %u may lock %ju bytes, the model has %" PRIu64, self->index,
		   (uintmax_t)limit.rlim_cur, wanted);
	return false;
}

/* So that the next session, which may come before gmemd sees the end of this one, finds our own. */
static bool give_locked_memory_back(struct storm_self *self)
{
	for (unsigned i = 0; i < STORM_DOMAINS; i++) {
		struct storm_domain *domain =
			&storm->domains[(size_t)self->index * STORM_DOMAINS + i];
		struct storm_op op = { .verb = STORM_MEMLOCK, .domain = domain };

		if (!storm_is_held(self, domain) || domain->memlock == 0)
			continue;
		domain->memlock = 0;
		if (!storm_self_run(self, &op, 1))
			return false;
	}
	return storm_self_check_memlock(self);
}

/* Its own limit, below a hard one that gmemd needs no privilege to raise it to. */
static void prepare_to_lock(struct storm_self *self)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_max < 16 * STORM_MEMLOCK_OWN)
		return;
	limit.rlim_cur = STORM_MEMLOCK_OWN;
	self->may_lock = setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

/* The session ends, and another comes back for what is persistent. */
static bool leave(struct storm_self *self)
{
	(void)snprintf(self->client->doing, sizeof(self->client->doing), "leaving");
	if (!destroy_all(self, false) || !give_locked_memory_back(self))
		return false;
	close_session(self);
	return self->link.ops->open(&self->link) && attach_all(self);
}

/* What others have taken from us. */
static void drop_stale(struct storm_self *self)
{
	for (size_t i = (size_t)STORM_CLIENTS_MAX * STORM_DOMAINS; i < STORM_DOMAINS_MAX; i++) {
		struct storm_domain *domain = &storm->domains[i];
		int holder = atomic_load(&domain->holder);
		uint64_t id = self->held[i];

		if (!id || (holder & 0xffff) == (int)self->index)
			continue;
		/* Not before the other is attached: until then it is ours, and would end with us.
		 */
		if (domain->id == id && storm_is(&domain->state, STORM_LIVE) &&
		    !atomic_load(&domain->attached))
			continue;
		self->link.ops->drop(&self->link, id);
		storm_self_forget(self, domain);
	}
}

/* ---- life ---- */

static bool check_fds(const struct storm_self *self)
{
	unsigned n = count_fds();

	if (n == self->n_fds + count_places(self))
		return true;
	storm_fail("client %u: %u fds are open, %u and memory of %u regions should be", self->index,
		   n, self->n_fds, count_places(self));
	return false;
}

static bool halt(struct storm_self *self)
{
	unsigned round = atomic_load(&storm->round);

	if (!storm_look(self) || !check_fds(self) || !storm_self_check_memlock(self))
		return false;
	(void)snprintf(self->client->doing, sizeof(self->client->doing), "waiting");
	atomic_store(&self->client->halted, round);
	while (atomic_load(&storm->phase) == STORM_HALT && atomic_load(&storm->round) == round)
		storm_nap_us(500);
	return true;
}

static bool step(struct storm_self *self)
{
	struct storm_op ops[STORM_BATCH_MAX] = { 0 };
	unsigned max = self->link.ops->batch_max;
	struct storm_domain *taken;
	unsigned n;

	drop_stale(self);
	storm_plan_aside(self);
	if (storm_chance(&self->rng, 1))
		return leave(self);
	taken = storm_chance(&self->rng, 10) ? storm_take_offered(self) : NULL;
	if (taken && storm_is(&taken->state, STORM_LIVE) &&
	    !self->held[storm_domain_index(taken)] && !storm_self_attach(self, taken))
		return false;
	n = storm_plan(self, ops, 1 + (unsigned)storm_pick(&self->rng, max));
	(void)snprintf(self->client->doing, sizeof(self->client->doing), "%u requests", n);
	return storm_self_run(self, ops, n);
}

static bool end(struct storm_self *self)
{
	struct storm_domain *taken;

	/* A new session has nothing that others may have taken. */
	if (!leave(self))
		return false;
	while ((taken = storm_take_offered(self))) {
		if (storm_is(&taken->state, STORM_FREE))
			continue;
		if (!self->held[storm_domain_index(taken)] && !storm_self_attach(self, taken))
			return false;
	}
	if (!destroy_all(self, true))
		return false;
	self->link.ops->close(&self->link);
	return true;
}

static bool live(struct storm_self *self)
{
	if (!self->link.ops->open(&self->link) || !attach_all(self))
		return false;
	self->n_fds = count_fds() - count_places(self);
	for (;;) {
		bool good;

		switch (atomic_load(&storm->phase)) {
		case STORM_RUN:
			good = step(self);
			break;
		case STORM_HALT:
			good = halt(self);
			break;
		default:
			return end(self);
		}
		if (!good)
			return false;
	}
}

void storm_client_run(unsigned index)
{
	static struct storm_self self;
	bool made;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	self.index = index;
	self.client = &storm->clients[index];
	self.rng.state = storm->seed ^ (uint64_t)(index + 1) << 32 ^
			 (uint64_t)atomic_load(&self.client->incarnation) << 48;
	self.link = (struct storm_link){ .index = index,
					 .path = storm->sockets[storm_tenant_of(index)],
					 .client = self.client,
					 .rng = &self.rng };
	for (size_t i = 0; i < STORM_DOMAINS_MAX; i++)
		for (unsigned j = 0; j < STORM_REGIONS; j++)
			self.places[i][j].fd = -1;
	prepare_to_lock(&self);
	made = index % 2 ? storm_raw_link(&self.link) : storm_lib_link(&self.link);
	if (!made)
		storm_fail("client %u: no memory", index);
	_exit(made && live(&self) ? 0 : 1);
}
