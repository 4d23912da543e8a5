/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

/* How long an old VMM may take to die after its domain was given up, and how often to look. */
#define LOCK_PATIENCE_MS 10000
#define LOCK_STEP_MS 10

static int complain_of_path(const struct run *run)
{
	return ctl_complain(run->ctl, CTL_FAILED,
			    "{mem} cannot be used with this memory: the kernel does not let it be "
			    "opened by a path. The command must take the open fd that it inherits: "
			    "{fd}");
}

/* A guest_memfd can be opened by nobody, ever (ENXIO): it must be inherited. */
static int check_path(const struct run *run)
{
	char path[32];
	int fd;

	if (!run_words_have(run->command, "{mem}"))
		return CTL_OK;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", gmem_region_fd(run->region));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return complain_of_path(run);
	(void)close(fd);
	return CTL_OK;
}

/* The same from the kind alone: a command that cannot start must take nothing from another. */
static int check_kind(const struct run *run, uint64_t domain)
{
	struct gmem_domain_info info;

	if (!run_words_have(run->command, "{mem}"))
		return CTL_OK;
	if (gmem_get_domain(run->ctl->client, domain, &info) < 0)
		return ctl_fail(run->ctl, "look for the domain");
	return strcmp(info.kind, "guest-memfd") == 0 ? complain_of_path(run) : CTL_OK;
}

static int note_progress(void *arg, uint64_t done, uint64_t total)
{
	struct run *run = arg;

	(void)progress_update(&run->progress, done, total);
	return run_signals_pending(&run->signals);
}

static int allocate(struct run *run)
{
	int r;

	if (!run->allocate)
		return CTL_OK;
	run->progress.what = "allocating";
	r = gmem_region_allocate(run->region, NULL, 0, note_progress, run);
	progress_end(&run->progress);
	if (r == -GMEM_CANCELLED && run_signals_pending(&run->signals))
		return RUN_SIGNALLED + run_signals_pending(&run->signals);
	return r < 0 ? ctl_fail(run->ctl, "allocate") : CTL_OK;
}

/* Another daemon or tenant may know the domain of the old token: it is set aside. */
static int save_token(const struct run *run)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	char aside[PATH_MAX + 8];
	int r;

	(void)snprintf(aside, sizeof(aside), "%s.old", run->place.token);
	if (rename(run->place.token, aside) < 0 && errno != ENOENT)
		return ctl_complain(run->ctl, CTL_FAILED, "%s: %s", run->place.token,
				    strerror(errno));
	gmem_domain_token(run->domain, token);
	r = token_save(run->place.token, gmem_domain_id(run->domain), token);
	explicit_bzero(token, sizeof(token));
	if (r < 0)
		return ctl_complain(run->ctl, CTL_FAILED, "%s: %s", run->place.token, strerror(-r));
	return CTL_OK;
}

/* The token comes first: whatever ends us from then on, it leads back to the domain. */
static int fill_domain(struct run *run)
{
	int r = save_token(run);

	if (r != CTL_OK)
		return r;
	if (gmem_region_create(run->domain, &run->region_spec, &run->region) < 0)
		return ctl_fail(run->ctl, "create region");
	r = check_path(run);
	return r == CTL_OK ? allocate(run) : r;
}

/* As long as the domain may be there its token stays, but that of another domain always does. */
void run_undo(struct run *run)
{
	uint64_t id, own = gmem_domain_id(run->domain);
	uint8_t token[GMEM_TOKEN_SIZE];

	if (gmem_domain_destroy(run->domain) < 0)
		return;
	if (token_load(run->place.token, &id, token) == 0 && id == own)
		(void)unlink(run->place.token);
	explicit_bzero(token, sizeof(token));
}

static int refuse_if_kept(const struct run *run)
{
	const char *name = run->domain_spec.name;
	struct gmem_domain_info info;
	uint8_t token[GMEM_TOKEN_SIZE];
	uint64_t id;
	int r = token_load(run->place.token, &id, token);

	explicit_bzero(token, sizeof(token));
	if (r == -ENOENT)
		return CTL_OK;
	if (r < 0)
		return ctl_complain(run->ctl, CTL_FAILED, "%s: %s", run->place.token, strerror(-r));
	if (gmem_get_domain(run->ctl->client, id, &info) == 0)
		return ctl_complain(run->ctl, CTL_FAILED,
				    "domain %s is there already, %s: run on it with --attach %s, "
				    "or end it with gmemctl destroy --token-file %s",
				    name, info.attached ? "in use" : "waiting", name,
				    run->place.token);
	if (gmem_error(run->ctl->client)->status != GMEM_NO_SUCH_OBJECT)
		return ctl_fail(run->ctl, "look for the domain");
	return CTL_OK;
}

int run_keep(struct run *run)
{
	int r = run_place_lock(&run->place);

	if (r == -EWOULDBLOCK)
		return ctl_complain(run->ctl, CTL_FAILED,
				    "a command still runs on %s (pid %d; fuser %s tells which): "
				    "use --attach %s --take-over, or another name",
				    run->domain_spec.name, (int)run_place_pid(&run->place),
				    run->place.lock, run->domain_spec.name);
	if (r < 0)
		return ctl_complain(run->ctl, CTL_FAILED, "%s: %s", run->place.lock, strerror(-r));
	r = refuse_if_kept(run);
	if (r != CTL_OK)
		return r;
	run->domain_spec.flags = GMEM_DOMAIN_PERSISTENT;
	if (gmem_domain_create(run->ctl->client, &run->domain_spec, &run->domain) < 0)
		return ctl_fail(run->ctl, "create domain");
	r = fill_domain(run);
	if (r != CTL_OK)
		run_undo(run);
	return r;
}

/* The old VMM may still be dying, or has left us behind by changing its user. */
static int wait_for_lock(struct run *run)
{
	const struct timespec step = { .tv_nsec = LOCK_STEP_MS * 1000000L };
	int r = run_place_lock(&run->place);

	for (int ms = 0; r == -EWOULDBLOCK && ms < LOCK_PATIENCE_MS; ms += LOCK_STEP_MS) {
		if (run_signals_pending(&run->signals))
			return RUN_SIGNALLED + run_signals_pending(&run->signals);
		(void)nanosleep(&step, NULL);
		r = run_place_lock(&run->place);
	}
	if (r == -EWOULDBLOCK)
		return ctl_complain(
			run->ctl, CTL_FAILED,
			"the command that ran on %s before (pid %d), or one that it has "
			"started, still runs: end it first; fuser %s tells which",
			run->attach, (int)run_place_pid(&run->place), run->place.lock);
	if (r < 0)
		return ctl_complain(run->ctl, CTL_FAILED, "%s: %s", run->place.lock, strerror(-r));
	return CTL_OK;
}

static int attach_domain(struct run *run)
{
	uint32_t flags = run->take_over ? GMEM_ATTACH_TAKE_OVER : 0;
	uint8_t token[GMEM_TOKEN_SIZE];
	uint64_t id;
	int r;

	r = token_load(run->place.token, &id, token);
	if (r == -ENOENT)
		return ctl_complain(run->ctl, CTL_FAILED,
				    "%s is not there: nothing was kept as %s. Make it with "
				    "--keep-domain, or name its folder with --token-dir",
				    run->place.token, run->attach);
	if (r < 0)
		return ctl_complain(run->ctl, CTL_FAILED, "%s: %s", run->place.token, strerror(-r));
	r = check_kind(run, id);
	if (r == CTL_OK)
		r = gmem_domain_attach(run->ctl->client, id, token, flags, 0, &run->domain);
	explicit_bzero(token, sizeof(token));
	if (r > 0)
		return r;
	if (r == -GMEM_BUSY && !run->take_over)
		return ctl_complain(run->ctl, CTL_FAILED,
				    "domain %s is in use; --take-over takes it away and kills the "
				    "command that runs on it",
				    run->attach);
	return r < 0 ? ctl_fail(run->ctl, "attach") : CTL_OK;
}

int run_attach(struct run *run)
{
	int r = attach_domain(run);

	if (r != CTL_OK)
		return r;
	run->region = gmem_domain_region(run->domain, 0);
	if (!run->region || gmem_domain_region(run->domain, 1))
		return ctl_complain(run->ctl, CTL_FAILED, "domain %s has not exactly one region",
				    run->attach);
	r = check_path(run);
	return r == CTL_OK ? wait_for_lock(run) : r;
}
