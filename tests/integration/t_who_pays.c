/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks pays: gmemd, and VMMs that are processes in control groups of their own, on the real
 * memory controller of this host, version 1 or 2. Needs root, and nothing else of a system.
 *
 * $GMEMD_BUILD is the build folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "gm_fd.h"
#include "gm_test.h"
#include "gmem.h"

#ifdef GMEMD_SANITIZED
#define SANDBOX "off"
#else
#define SANDBOX "enforce"
#endif

#define OWN_MAX (UINT64_C(24) << 20)
/* What a VMM of this test and its worker take beside the guest's memory. */
#define SLACK (UINT64_C(16) << 20)
#define NOBODY 65534

static char folder[32], socket_path[64], log_path[64];
static struct group own; /* gmemd's */
static pid_t gmemd;
/* Of a guest: big enough to be told from noise, and to take a while. */
static uint64_t guest_size;

static void nap_ms(long ms)
{
	const struct timespec nap = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&nap, NULL);
}

/* ---- gmemd ---- */

static void become_gmemd(const char *charge, uid_t uid, int program)
{
	char listen[128];
	int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	const char *argv[] = { "gmemd",	   "--listen", listen,		"--sandbox", SANDBOX,
			       "--charge", charge,     "--socket-mode", "0666",	     NULL };

	snprintf(listen, sizeof(listen), "acme=%s", socket_path);
	if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || !group_add(&own, getpid()))
		_exit(126);
	unsetenv("NOTIFY_SOCKET");
	if (uid != 0 && (setgid(NOBODY) < 0 || setuid(uid) < 0))
		_exit(126);
	/* A test that fails leaves no daemon behind. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		_exit(126);
	/* By fd: the build folder may be closed to others. */
	fexecve(program, (char *const *)argv, environ);
	_exit(127);
}

/* A socket has its name before anybody listens at it. */
static bool is_listening(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool listening;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	listening = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	gm_fd_close(fd);
	return listening;
}

static void start_gmemd(const char *charge, uid_t uid)
{
	const char *build = getenv("GMEMD_BUILD");
	char path[512];
	int program;

	assert_non_null(build);
	snprintf(path, sizeof(path), "%s/bin/gmemd", build);
	program = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(program >= 0);
	strcpy(folder, "/tmp/gmemd-pays-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0777), 0);
	snprintf(socket_path, sizeof(socket_path), "%s/sock", folder);
	snprintf(log_path, sizeof(log_path), "%s/log", folder);
	gmemd = fork();
	assert_true(gmemd >= 0);
	if (gmemd == 0)
		become_gmemd(charge, uid, program);
	gm_fd_close(program);
	for (int i = 0; i < 3000 && !is_listening(); i++)
		nap_ms(10);
}

static const char *read_log(void)
{
	static char text[8192];
	int fd = open(log_path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	gm_fd_close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static bool log_says(const char *words)
{
	return strstr(read_log(), words) != NULL;
}

static void stop_gmemd(void)
{
	int status = -1;

	assert_int_equal(kill(gmemd, SIGTERM), 0);
	assert_int_equal(waitpid(gmemd, &status, 0), gmemd);
	if (log_says("not zero"))
		fail_msg("the ledger is not zero");
	unlink(log_path);
	unlink(socket_path);
	rmdir(folder);
	assert_int_equal(status, 0);
}

/* ---- a VMM ---- */

enum verb {
	CREATE,
	ALLOCATE,
	DISCARD,
	TOUCH,
	ATTACH
};

struct order {
	enum verb verb;
	uint64_t offset, length;
	const struct group
		*squeeze; /* ALLOCATE: its limit falls to what it has while the job runs */
	uint64_t domain;
	uint8_t token[GMEM_TOKEN_SIZE];
};

struct answer {
	int status;
	char rule[32], text[256];
	uint64_t limit, used, asked;
	uint64_t allocated; /* of the region, as gmemd says */
	uint64_t blocks;    /* of its file, bytes */
	uint64_t domain;
	uint8_t token[GMEM_TOKEN_SIZE];
};

struct vmm {
	pid_t pid;
	int channel;
};

static gmem_client *client;
static gmem_domain *domain;
static gmem_region *region;

static int squeeze(void *arg, uint64_t done, uint64_t total)
{
	const struct group *group = arg;

	(void)done;
	(void)total;
	if (group != NULL)
		(void)group_limit(group, group_usage(group) + (UINT64_C(8) << 20));
	return 0;
}

static int create(const struct order *order)
{
	const struct gmem_domain_spec spec = { .flags = GMEM_DOMAIN_PERSISTENT };
	const struct gmem_region_spec memory = { .size = order->length };
	int r = gmem_connect(socket_path, NULL, &client);

	if (r == 0)
		r = gmem_domain_create(client, &spec, &domain);
	return r == 0 ? gmem_region_create(domain, &memory, &region) : r;
}

static int attach(const struct order *order)
{
	int r = gmem_connect(socket_path, NULL, &client);

	if (r == 0)
		r = gmem_domain_attach(client, order->domain, order->token, GMEM_ATTACH_TAKE_OVER,
				       0, &domain);
	if (r == 0)
		region = gmem_domain_region(domain, 0);
	return r;
}

static int touch(const struct order *order)
{
	void *ram = NULL;
	int r = gmem_region_map(region, &ram);

	if (r == 0)
		memset(ram, 1, order->length);
	return r;
}

static int obey(const struct order *order)
{
	const struct gmem_range range = { order->offset, order->length };

	switch (order->verb) {
	case CREATE:
		return create(order);
	case ATTACH:
		return attach(order);
	case ALLOCATE:
		return gmem_region_allocate(region, &range, 1, squeeze, (void *)order->squeeze);
	case DISCARD:
		return gmem_region_discard(region, &range, 1, NULL, NULL);
	case TOUCH:
		return touch(order);
	}
	return -1;
}

static void tell(struct answer *answer)
{
	const struct gmem_error *error = gmem_error(client);
	struct gmem_region_info info;
	struct stat stat;

	snprintf(answer->rule, sizeof(answer->rule), "%s", error->rule);
	snprintf(answer->text, sizeof(answer->text), "%s", error->text);
	answer->limit = error->limit;
	answer->used = error->used;
	answer->asked = error->asked;
	if (region == NULL)
		return;
	if (gmem_get_region(client, gmem_region_id(region), &info) == 0)
		answer->allocated = info.allocated_bytes;
	if (fstat(gmem_region_fd(region), &stat) == 0)
		answer->blocks = (uint64_t)stat.st_blocks * 512;
	answer->domain = gmem_domain_id(domain);
	gmem_domain_token(domain, answer->token);
}

static void become_vmm(const struct group *group, int channel)
{
	struct order order;

	if ((group != NULL && !group_add(group, getpid())) || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(126);
	while (recv(channel, &order, sizeof(order), 0) == sizeof(order)) {
		struct answer answer = { .status = obey(&order) };

		tell(&answer);
		if (send(channel, &answer, sizeof(answer), 0) < 0)
			_exit(1);
	}
	_exit(0);
}

static struct vmm vmm_start(const struct group *group)
{
	struct vmm vmm;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	vmm.pid = fork();
	assert_true(vmm.pid >= 0);
	if (vmm.pid == 0) {
		gm_fd_close(pair[0]);
		become_vmm(group, pair[1]);
	}
	gm_fd_close(pair[1]);
	vmm.channel = pair[0];
	return vmm;
}

static struct answer ask(const struct vmm *vmm, const struct order *order)
{
	struct answer answer = { .status = -1 };

	assert_int_equal(send(vmm->channel, order, sizeof(*order), 0), sizeof(*order));
	assert_int_equal(recv(vmm->channel, &answer, sizeof(answer), 0), sizeof(answer));
	return answer;
}

static struct answer do_it(const struct vmm *vmm, enum verb verb, uint64_t length)
{
	return ask(vmm, &(struct order){ .verb = verb, .length = length });
}

static void assert_done(const struct answer *answer)
{
	if (answer->status != 0)
		fail_msg("%d: %s\n%s", answer->status, answer->text, read_log());
}

static struct vmm vmm_with_memory(const struct group *group)
{
	struct vmm vmm = vmm_start(group);
	struct answer answer = do_it(&vmm, CREATE, guest_size);

	assert_done(&answer);
	return vmm;
}

static void vmm_end(const struct vmm *vmm)
{
	gm_fd_close(vmm->channel);
	(void)kill(vmm->pid, SIGKILL);
	assert_int_equal(waitpid(vmm->pid, NULL, 0), vmm->pid);
}

static bool is_about(uint64_t bytes, uint64_t expected)
{
	return bytes >= expected && bytes <= expected + SLACK;
}

static void make(struct group *group, const char *name)
{
	assert_true(group_make(group, "memory", name));
}

static void give_back(const struct vmm *vmm)
{
	struct answer answer = do_it(vmm, DISCARD, guest_size);

	assert_done(&answer);
}

/* ---- cases ---- */

static void who_asks_is_charged_and_gmemd_is_not(void **state)
{
	struct answer answer;
	struct group group;
	struct vmm vmm;

	(void)state;
	make(&group, "gm-tenant");
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&group);
	answer = do_it(&vmm, ALLOCATE, guest_size);
	assert_done(&answer);
	assert_int_equal(answer.blocks, guest_size);
	print_message("the tenant's group has %ju of %ju KiB, gmemd's own %ju\n",
		      (uintmax_t)group_usage(&group) / 1024, (uintmax_t)guest_size / 1024,
		      (uintmax_t)group_peak(&own) / 1024);
	assert_true(is_about(group_usage(&group), guest_size));
	assert_true(group_usage(&own) < OWN_MAX);
	assert_true(group_peak(&own) < OWN_MAX);
	assert_false(group_has(&group, gmemd));
	give_back(&vmm);
	assert_true(group_usage(&group) < SLACK);
	vmm_end(&vmm);
	stop_gmemd();
	assert_true(group_remove(&group));
}

static void a_job_without_room_is_refused_with_the_figures_and_nobody_dies(void **state)
{
	uint64_t limit = guest_size / 2;
	struct answer answer;
	struct group group;
	struct vmm vmm;

	(void)state;
	make(&group, "gm-tenant");
	assert_true(group_limit(&group, limit));
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&group);
	answer = do_it(&vmm, ALLOCATE, guest_size);
	assert_int_equal(answer.status, -GMEM_NO_RESOURCE);
	assert_string_equal(answer.rule, "memory-cgroup");
	assert_non_null(strstr(answer.text, "out of memory in cgroup /gm-tenant."));
	assert_int_equal(answer.limit, limit);
	assert_int_equal(answer.asked, guest_size);
	assert_true(answer.used < SLACK);
	assert_int_equal(answer.allocated, 0);
	answer = do_it(&vmm, ALLOCATE, limit - SLACK);
	assert_done(&answer);
	/* What is there already needs no room, whoever asks for it once more. */
	answer = do_it(&vmm, ALLOCATE, limit - SLACK);
	assert_done(&answer);
	assert_int_equal(group_oom_kills(&group), 0);
	give_back(&vmm);
	vmm_end(&vmm);
	stop_gmemd();
	assert_true(group_remove(&group));
}

static void make_below(struct group *group, const struct group *parent, const char *name)
{
	*group = *parent;
	assert_true((size_t)snprintf(group->path, sizeof(group->path), "%.200s/%s", parent->path,
				     name) < sizeof(group->path));
	assert_int_equal(mkdir(group->path, 0755), 0);
}

/* The one process of the group beside @pid, or 0. */
static pid_t find_worker(const struct group *group, pid_t pid)
{
	char path[300];
	FILE *file;
	int one, found = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group->path);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fscanf(file, "%d", &one) == 1)
		if (one != pid)
			found = one;
	(void)fclose(file);
	return found;
}

/* A job that does not come any further: what it has still to take is promised to it. */
static pid_t begin_and_stop(const struct vmm *vmm, const struct group *group)
{
	const struct order order = { .verb = ALLOCATE, .length = guest_size };
	pid_t worker = 0;

	assert_int_equal(send(vmm->channel, &order, sizeof(order), 0), sizeof(order));
	for (int i = 0; i < 5000 && worker == 0; i++) {
		worker = find_worker(group, vmm->pid);
		nap_ms(worker == 0);
	}
	assert_true(worker > 0 && kill(worker, SIGSTOP) == 0);
	return worker;
}

static void what_is_promised_to_one_group_is_no_room_for_the_group_beside_it(void **state)
{
	struct group parent, first, second;
	struct vmm vmm, neighbour;
	struct answer answer;
	pid_t worker;

	(void)state;
	make(&parent, "gm-both");
	if (parent.v2) {
		(void)group_remove(&parent);
		print_message("made for version 1, where groups need no leave to have groups\n");
		skip();
	}
	make_below(&first, &parent, "first");
	make_below(&second, &parent, "second");
	assert_true(group_limit(&parent, guest_size + guest_size / 2));
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&first);
	neighbour = vmm_with_memory(&second);
	worker = begin_and_stop(&vmm, &first);
	answer = do_it(&neighbour, ALLOCATE, guest_size);
	assert_int_equal(answer.status, -GMEM_NO_RESOURCE);
	/* What is in the group that both are in is for neither to know. */
	assert_non_null(strstr(answer.text, "out of memory in a cgroup above /gm-both"));
	assert_null(strstr(answer.text, "limit"));
	assert_true(log_says("CGROUP="));
	assert_int_equal(answer.limit, 0);
	assert_int_equal(answer.used, 0);
	assert_int_equal(answer.asked, guest_size);
	assert_true(kill(worker, SIGCONT) == 0);
	assert_int_equal(recv(vmm.channel, &answer, sizeof(answer), 0), sizeof(answer));
	assert_done(&answer);
	give_back(&vmm);
	answer = do_it(&neighbour, ALLOCATE, guest_size);
	assert_done(&answer);
	give_back(&neighbour);
	vmm_end(&vmm);
	vmm_end(&neighbour);
	stop_gmemd();
	assert_true(group_remove(&first) && group_remove(&second) && group_remove(&parent));
}

static void a_worker_that_the_oom_killer_takes_is_told_and_its_pages_are_booked(void **state)
{
	struct group group, other;
	struct answer answer;
	struct vmm vmm, neighbour;

	(void)state;
	make(&group, "gm-tenant");
	make(&other, "gm-neighbour");
	start_gmemd("vmm", 0);
	neighbour = vmm_with_memory(&other);
	vmm = vmm_with_memory(&group);
	/* By size the OOM killer would take the VMM. */
	answer = do_it(&vmm, TOUCH, guest_size / 8);
	assert_done(&answer);
	answer = ask(&vmm,
		     &(struct order){ .verb = ALLOCATE, .length = guest_size, .squeeze = &group });
	assert_int_equal(answer.status, -GMEM_WORKER_LOST);
	assert_string_equal(answer.rule, "memory-cgroup");
	assert_non_null(strstr(answer.text, "out of memory in cgroup /gm-tenant."));
	assert_true(answer.limit < guest_size);
	assert_true(answer.used <= answer.limit);
	/* The worker went, not the VMM, and what it had done is in the books. */
	assert_true(group_oom_kills(&group) >= 1);
	assert_true(answer.blocks > 0 && answer.blocks < guest_size);
	assert_int_equal(answer.allocated, answer.blocks);
	answer = do_it(&neighbour, ALLOCATE, SLACK);
	assert_done(&answer);
	give_back(&vmm);
	give_back(&neighbour);
	vmm_end(&vmm);
	vmm_end(&neighbour);
	stop_gmemd();
	assert_true(group_remove(&group));
	assert_true(group_remove(&other));
}

static void a_vmm_that_has_moved_pays_where_it_is(void **state)
{
	struct group before, after;
	struct answer answer;
	struct vmm vmm;

	(void)state;
	make(&before, "gm-before");
	make(&after, "gm-after");
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&before);
	answer = do_it(&vmm, ALLOCATE, SLACK);
	assert_done(&answer);
	assert_true(group_add(&after, vmm.pid));
	answer = ask(
		&vmm,
		&(struct order){ .verb = ALLOCATE, .offset = SLACK, .length = guest_size - SLACK });
	assert_done(&answer);
	assert_true(is_about(group_usage(&after), guest_size - SLACK));
	assert_true(is_about(group_usage(&before), SLACK));
	/* Nobody is left where nobody asks from any more. */
	assert_int_equal(group_count(&before), 0);
	give_back(&vmm);
	vmm_end(&vmm);
	stop_gmemd();
	assert_true(group_remove(&before));
	assert_true(group_remove(&after));
}

static void after_a_take_over_the_new_vmm_pays(void **state)
{
	struct group before, after;
	struct answer answer;
	struct order order = { .verb = ATTACH };
	struct vmm vmm, next;

	(void)state;
	make(&before, "gm-before");
	make(&after, "gm-after");
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&before);
	answer = do_it(&vmm, ALLOCATE, SLACK);
	assert_done(&answer);
	next = vmm_start(&after);
	order.domain = answer.domain;
	memcpy(order.token, answer.token, sizeof(order.token));
	answer = ask(&next, &order);
	assert_done(&answer);
	vmm_end(&vmm);
	/* At once: the group of a VMM that has gone can be removed. */
	assert_true(group_remove(&before));
	answer = ask(
		&next,
		&(struct order){ .verb = ALLOCATE, .offset = SLACK, .length = guest_size - SLACK });
	assert_done(&answer);
	assert_true(is_about(group_usage(&after), guest_size - SLACK));
	give_back(&next);
	vmm_end(&next);
	stop_gmemd();
	assert_true(group_remove(&after));
}

static void a_group_that_allows_no_more_threads_gets_its_work_done_by_one(void **state)
{
	struct group group, pids;
	struct answer answer;
	struct vmm vmm;

	(void)state;
	make(&group, "gm-tenant");
	if (!group.v2 && !group_make(&pids, "pids", "gm-pids")) {
		(void)group_remove(&group);
		print_message("no pids controller\n");
		skip();
	}
	if (group.v2)
		pids = group;
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&group);
	assert_true(group_add(&pids, vmm.pid));
	if (!group_write(&pids, "pids.max", "pids.max", 1))
		print_message("no pids.max\n");
	answer = do_it(&vmm, ALLOCATE, guest_size);
	assert_done(&answer);
	assert_int_equal(answer.blocks, guest_size);
	give_back(&vmm);
	vmm_end(&vmm);
	stop_gmemd();
	if (!group.v2)
		assert_true(group_remove(&pids));
	assert_true(group_remove(&group));
}

static void assert_waits_for_its_worker(const struct vmm *vmm, const struct group *group)
{
	const struct order order = { .verb = ALLOCATE, .length = guest_size };

	assert_int_equal(send(vmm->channel, &order, sizeof(order), 0), sizeof(order));
	for (int i = 0; i < 1000 && group_count(group) < 2; i++)
		nap_ms(1);
	assert_true(group_write(group, NULL, "cgroup.freeze", 1));
	nap_ms(300);
	assert_true(recv(vmm->channel, &(struct answer){ 0 }, sizeof(struct answer), MSG_DONTWAIT) <
		    0);
}

static void a_job_of_a_frozen_group_waits_and_can_be_ended(void **state)
{
	struct answer answer;
	struct group group;
	struct vmm vmm;

	(void)state;
	make(&group, "gm-tenant");
	if (!group.v2) {
		(void)group_remove(&group);
		print_message("in version 1 freezing is a hierarchy of its own\n");
		skip();
	}
	start_gmemd("vmm", 0);
	vmm = vmm_with_memory(&group);
	assert_waits_for_its_worker(&vmm, &group);
	assert_true(group_write(&group, NULL, "cgroup.freeze", 0));
	assert_int_equal(recv(vmm.channel, &answer, sizeof(answer), 0), sizeof(answer));
	assert_done(&answer);
	give_back(&vmm);
	/* And one that never thaws: its worker ends with it all the same. */
	assert_waits_for_its_worker(&vmm, &group);
	vmm_end(&vmm);
	stop_gmemd();
	assert_true(group_remove(&group));
}

static void without_the_right_to_charge_others_a_job_is_refused(void **state)
{
	struct answer answer;
	struct group group;
	struct vmm vmm;

	(void)state;
	make(&group, "gm-tenant");
	start_gmemd("vmm", NOBODY);
	vmm = vmm_with_memory(&group);
	answer = do_it(&vmm, ALLOCATE, SLACK);
	assert_int_equal(answer.status, -GMEM_NO_RESOURCE);
	assert_string_equal(answer.rule, "memory-cgroup");
	assert_non_null(strstr(answer.text, "Permission denied"));
	assert_int_equal(answer.blocks, 0);
	vmm_end(&vmm);
	stop_gmemd();
	assert_true(group_remove(&group));
}

static void with_auto_gmemd_pays_where_nobody_else_can_and_says_so(void **state)
{
	struct answer answer;
	struct group group;
	struct vmm vmm;

	(void)state;
	make(&group, "gm-tenant");
	start_gmemd("auto", NOBODY);
	vmm = vmm_with_memory(&group);
	answer = do_it(&vmm, ALLOCATE, guest_size);
	assert_done(&answer);
	assert_true(group_usage(&group) < SLACK);
	assert_true(group_usage(&own) >= guest_size);
	for (int i = 0; i < 300 && !log_says("charged to gmemd's own control group"); i++)
		nap_ms(10);
	assert_true(log_says("charged to gmemd's own control group"));
	give_back(&vmm);
	vmm_end(&vmm);
	stop_gmemd();
	assert_true(group_remove(&group));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(who_asks_is_charged_and_gmemd_is_not),
		gm_test(a_job_without_room_is_refused_with_the_figures_and_nobody_dies),
		gm_test(what_is_promised_to_one_group_is_no_room_for_the_group_beside_it),
		gm_test(a_worker_that_the_oom_killer_takes_is_told_and_its_pages_are_booked),
		gm_test(a_vmm_that_has_moved_pays_where_it_is),
		gm_test(after_a_take_over_the_new_vmm_pays),
		gm_test(a_group_that_allows_no_more_threads_gets_its_work_done_by_one),
		gm_test(a_job_of_a_frozen_group_waits_and_can_be_ended),
		gm_test(without_the_right_to_charge_others_a_job_is_refused),
		gm_test(with_auto_gmemd_pays_where_nobody_else_can_and_says_so),
	};
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	int r;

	if (geteuid() != 0)
		gm_test_skip_all("only root may make control groups");
	if (!group_make(&own, "memory", "gm-gmemd"))
		gm_test_skip_all("no memory controller in which a group can be made");
	guest_size = gm_min_u64(UINT64_C(2) << 30, gm_align_down(ram / 4, GM_PAGE_2M));
	r = gm_test_run("who_pays", tests, GM_ARRAY_SIZE(tests));
	(void)group_remove(&own);
	return r;
}
