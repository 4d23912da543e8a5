/* SPDX-License-Identifier: Apache-2.0 */
#include "served.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gm_fd.h"

#ifdef GMEMD_SANITIZED
#define SANDBOX "off"
#else
#define SANDBOX "enforce"
#endif

#define CODE_SIZE (2 * GM_PAGE_4K)

static void nap_ms(long ms)
{
	const struct timespec nap = { .tv_nsec = ms * 1000000 };

	nanosleep(&nap, NULL);
}

void served_needed(void)
{
	private_vm_needed();
	if (!getenv("GMEMD_BUILD"))
		gm_test_skip_all("GMEMD_BUILD is not set");
}

static void become_gmemd(const struct served *served, bool keep)
{
	int log = open(served->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	char program[512];
	char listen[128];

	/* A test that fails leaves no daemon behind. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	(void)snprintf(program, sizeof(program), "%s/bin/gmemd", getenv("GMEMD_BUILD"));
	(void)snprintf(listen, sizeof(listen), "test=%s", served->socket);
	unsetenv("NOTIFY_SOCKET");
	execl(program, "gmemd", "--listen", listen, "--sandbox", SANDBOX, "--policy",
	      served->policy, keep ? "--keep" : NULL, NULL);
	_exit(127);
}

static void write_policy(const struct served *served, const char *keys)
{
	int fd = open(served->policy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_return_code(fd, errno);
	assert_true(dprintf(fd, "[X-Gmemd]\n%s", keys) > 0);
	gm_fd_close(fd);
}

static void start(struct served *served, bool keep, const char *keys)
{
	strcpy(served->folder, "/tmp/gmemd-served-XXXXXX");
	assert_non_null(mkdtemp(served->folder));
	(void)snprintf(served->socket, sizeof(served->socket), "%s/sock", served->folder);
	(void)snprintf(served->log, sizeof(served->log), "%s/log", served->folder);
	(void)snprintf(served->policy, sizeof(served->policy), "%s/policy", served->folder);
	write_policy(served, keys);
	served->pid = fork();
	assert_return_code(served->pid, errno);
	if (served->pid == 0)
		become_gmemd(served, keep);
	for (int i = 0; i < 1000 && access(served->socket, F_OK) < 0; i++)
		nap_ms(10);
}

void served_start(struct served *served, bool keep)
{
	start(served, keep, "");
}

void served_start_under(struct served *served, const char *keys)
{
	start(served, false, keys);
}

/* True when nothing was wrong, else it is shown. */
static bool check_log(const struct served *served, int status)
{
	char text[8192];
	int fd = open(served->log, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	gm_fd_close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (status == 0 && !strstr(text, "not zero"))
		return true;
	print_message("--- log of gmemd\n%s---\n", text);
	return false;
}

void served_stop(struct served *served)
{
	int status = -1;
	bool good;

	assert_return_code(kill(served->pid, SIGTERM), errno);
	assert_int_equal(waitpid(served->pid, &status, 0), served->pid);
	good = check_log(served, status);
	(void)unlink(served->log);
	(void)unlink(served->socket);
	(void)unlink(served->policy);
	(void)rmdir(served->folder);
	assert_true(good);
}

void served_kill(const struct served *served)
{
	char text[32] = "";
	char path[64];
	pid_t daemon;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", served->pid, served->pid);
	for (int i = 0; i < 500; i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_return_code(fd, errno);
		if (read(fd, text, sizeof(text) - 1) <= 0)
			text[0] = '\0';
		gm_fd_close(fd);
		daemon = (pid_t)strtol(text, NULL, 10);
		if (daemon > 0) {
			assert_return_code(kill(daemon, SIGKILL), errno);
			return;
		}
		nap_ms(10);
	}
	fail_msg("there is no gmemd below its keeper");
}

static gmem_client *connect_to(const struct served *served)
{
	char why[256] = "";
	const struct gmem_connect_spec spec = { .name = "served",
						.ret_error = why,
						.ret_error_size = sizeof(why) };
	gmem_client *client;

	/* A socket has its name before anybody listens at it. */
	for (int i = 0; gmem_connect(served->socket, &spec, &client) < 0; i++) {
		if (i == 100)
			fail_msg("no client: %s", why);
		nap_ms(10);
	}
	return client;
}

static int add_bytes(void *arg, const struct gmem_account_info *info)
{
	uint64_t *bytes = arg;

	for (uint32_t i = 0; i < info->n_usage; i++)
		if (strcmp(info->usage[i].resource, "memory") == 0)
			*bytes += info->usage[i].used;
	return 0;
}

uint64_t served_bytes(const struct served *served)
{
	gmem_client *client = connect_to(served);
	uint64_t bytes = 0;

	assert_int_equal(gmem_list_accounts(client, add_bytes, &bytes), 0);
	gmem_disconnect(client);
	return bytes;
}

/* The newest guest_memfd of this process. */
static int find_private_half(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char text[64] = "";
		int fd = atoi(entry->d_name);

		if (readlinkat(dirfd(dir), entry->d_name, text, sizeof(text) - 1) > 0 &&
		    strstr(text, "[kvm-gmem]") && fd > found)
			found = fd;
	}
	assert_int_equal(closedir(dir), 0);
	return found;
}

static void good(const struct served_guest *guest, int r)
{
	if (r != 0)
		fail_msg("%s", gmem_error(guest->client)->text);
}

void served_guest_open(struct served_guest *guest, const struct served *served, uint64_t size)
{
	const struct gmem_domain_spec kind = { .kind = "sw-protected" };
	const struct gmem_region_spec spec = { .size = size };
	const struct gmem_range code = { 0, served->code_size ? served->code_size : CODE_SIZE };
	void *shared;

	guest->client = connect_to(served);
	good(guest, gmem_domain_create(guest->client, &kind, &guest->domain));
	private_vm_create(&guest->vm);
	good(guest, gmem_vm_adopt(guest->domain, guest->vm.vm));
	good(guest, gmem_region_create(guest->domain, &spec, &guest->region));
	good(guest, gmem_region_bind(guest->region, 0));
	good(guest, gmem_region_convert(guest->region, &code, 1, GMEM_PAGE_SHARED));
	good(guest, gmem_region_map(guest->region, &shared));
	guest->vm.size = size;
	guest->vm.shared = shared;
	guest->private_fd = find_private_half();
	private_vm_boot(&guest->vm);
}

void served_guest_close(struct served_guest *guest)
{
	struct private_vm *vm = &guest->vm;

	/* The memory is the library's. */
	gmem_disconnect(guest->client);
	vm->shared = NULL;
	vm->size = 0;
	private_vm_close(vm);
}

uint64_t served_call(struct served_guest *guest, uint64_t gpa, uint64_t n_pages, bool to_private)
{
	unsigned reason = private_vm_call(&guest->vm, gpa, n_pages, to_private);

	assert_int_equal(reason, KVM_EXIT_HYPERCALL);
	if (gmem_handle_map_gpa_range(guest->domain, guest->vm.run) < 0)
		print_message("%s\n", gmem_error(guest->client)->text);
	assert_int_equal(private_vm_go_on(&guest->vm), KVM_EXIT_HLT);
	return private_vm_call_result(&guest->vm);
}

void served_write(struct served_guest *guest, uint64_t gpa, unsigned char value)
{
	assert_int_equal(private_vm_write(&guest->vm, gpa, value), KVM_EXIT_HLT);
}

unsigned char served_read(struct served_guest *guest, uint64_t gpa)
{
	unsigned char value = 0xee;

	assert_int_equal(private_vm_read(&guest->vm, gpa, &value), KVM_EXIT_HLT);
	return value;
}
