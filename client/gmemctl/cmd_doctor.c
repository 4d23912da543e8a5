/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host can do. A running daemon is asked, since what counts is what it sees; without one
 * `gmemd --probe` finds out.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmemctl.h"

#define PROBE_MAX 65536

extern char **environ;

/* gmemd beside gmemctl (a build tree), else by PATH and the usual sbin. */
static void find_gmemd(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		if (slash && (size_t)(slash + 1 - path) + sizeof("gmemd") <= size) {
			memcpy(slash + 1, "gmemd", sizeof("gmemd"));
			if (access(path, X_OK) == 0)
				return;
		}
	}
	(void)snprintf(path, size, "%s",
		       access("/usr/sbin/gmemd", X_OK) == 0 ? "/usr/sbin/gmemd" : "gmemd");
}

static int spawn_probe(int *ret_fd, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	char path[4096];
	char option[] = "--probe";
	char *arguments[] = { path, option, NULL };
	int ends[2], r;

	find_gmemd(path, sizeof(path));
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	r = -posix_spawn_file_actions_init(&actions);
	if (r == 0) {
		r = -posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (r == 0)
			r = -posix_spawnp(ret_pid, path, &actions, NULL, arguments, environ);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)close(ends[1]);
	if (r < 0)
		(void)close(ends[0]);
	else
		*ret_fd = ends[0];
	return r;
}

static size_t read_all(int fd, unsigned char *buffer, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while (used < size) {
		n = read(fd, buffer + used, size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	return used;
}

static int probe_host(struct ctl *ctl, struct gmem_host_info *info)
{
	unsigned char *bytes = malloc(PROBE_MAX);
	int fd = -1, status = 0, r;
	size_t length;
	pid_t pid = -1;

	if (!bytes)
		return ctl_complain(ctl, CTL_FAILED, "out of memory");
	r = spawn_probe(&fd, &pid);
	if (r < 0) {
		free(bytes);
		return ctl_complain(ctl, CTL_FAILED, "no daemon to ask, and gmemd --probe: %s",
				    strerror(-r));
	}
	length = read_all(fd, bytes, PROBE_MAX);
	(void)close(fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	r = status == 0 && gmem_parse_probe(bytes, length, info) == 0
		    ? CTL_OK
		    : ctl_complain(ctl, CTL_FAILED, "gmemd --probe did not tell (wait status %d)",
				   status);
	free(bytes);
	return r;
}

static json_object *backend_tree(const struct gmem_backend_info *backend)
{
	json_object *tree = json_object_new_object();
	json_object *sizes = json_object_new_array();

	for (int bit = 0; bit < 63; bit++)
		if (backend->page_sizes >> bit & 1)
			json_object_array_add(sizes, json_object_new_uint64(UINT64_C(1) << bit));
	json_object_object_add(tree, "kind", json_object_new_string(backend->kind));
	json_object_object_add(tree, "usable", json_object_new_boolean(backend->usable));
	json_object_object_add(tree, "page_sizes", sizes);
	json_object_object_add(tree, "capabilities", json_object_new_string(backend->capabilities));
	json_object_object_add(tree, "reason", json_object_new_string(backend->reason));
	return tree;
}

static json_object *host_tree(const struct gmem_host_info *info, const char *asked)
{
	json_object *tree = json_object_new_object();
	json_object *backends = json_object_new_array();
	json_object *pools = json_object_new_array();
	json_object *slots = json_object_new_array();

	for (uint32_t i = 0; i < info->n_backends; i++)
		json_object_array_add(backends, backend_tree(&info->backends[i]));
	for (uint32_t i = 0; i < info->n_pools; i++) {
		json_object *pool = json_object_new_object();

		json_object_object_add(pool, "page_size",
				       json_object_new_uint64(info->pools[i].page_size));
		json_object_object_add(pool, "total", json_object_new_uint64(info->pools[i].total));
		json_object_object_add(pool, "free", json_object_new_uint64(info->pools[i].free));
		json_object_object_add(pool, "reserved",
				       json_object_new_uint64(info->pools[i].reserved));
		json_object_array_add(pools, pool);
	}
	for (uint32_t i = 0; i < info->n_slots; i++) {
		json_object *slot = json_object_new_object();

		json_object_object_add(slot, "name", json_object_new_string(info->slots[i].name));
		json_object_object_add(slot, "capacity",
				       json_object_new_uint64(info->slots[i].capacity));
		json_object_object_add(slot, "used", json_object_new_uint64(info->slots[i].used));
		json_object_array_add(slots, slot);
	}
	json_object_object_add(tree, "asked", json_object_new_string(asked));
	json_object_object_add(tree, "kernel", json_object_new_string(info->kernel));
	json_object_object_add(tree, "memory_total", json_object_new_uint64(info->memory_total));
	json_object_object_add(tree, "memory_available",
			       json_object_new_uint64(info->memory_available));
	json_object_object_add(tree, "numa_nodes", ctl_json_bits(info->numa_nodes));
	json_object_object_add(tree, "kvm", json_object_new_boolean(info->kvm));
	json_object_object_add(tree, "kvm_reason", json_object_new_string(info->kvm_reason));
	if (info->charge_reason[0] != '\0') {
		json_object_object_add(tree, "charged", json_object_new_boolean(info->charged));
		json_object_object_add(tree, "charge_reason",
				       json_object_new_string(info->charge_reason));
	}
	json_object_object_add(tree, "backends", backends);
	json_object_object_add(tree, "pools", pools);
	json_object_object_add(tree, "slots", slots);
	return tree;
}

static void print_mark(const struct ctl *ctl, bool yes, const char *what, const char *why)
{
	const char *color = yes ? "\033[32m" : "\033[31m";

	printf("  %s%-4s%s %-12s %s\n", ctl->color ? color : "", yes ? "yes" : "no",
	       ctl->color ? "\033[0m" : "", what, why);
}

static void print_host(const struct ctl *ctl, const struct gmem_host_info *info, const char *asked)
{
	char a[CTL_SIZE_TEXT], b[CTL_SIZE_TEXT], pages[128];

	printf("kernel %s; memory %s, %s available; asked %s\n", info->kernel,
	       ctl_size_text(info->memory_total, a), ctl_size_text(info->memory_available, b),
	       asked);
	print_mark(ctl, info->kvm, "/dev/kvm",
		   info->kvm ? "VMMs get it open from gmemd" : info->kvm_reason);
	if (info->charge_reason[0] != '\0')
		print_mark(ctl, info->charged, "who asks pays", info->charge_reason);
	for (uint32_t i = 0; i < info->n_backends; i++) {
		const struct gmem_backend_info *backend = &info->backends[i];
		size_t used = 0;

		print_mark(ctl, backend->usable, backend->kind, backend->reason);
		if (!backend->usable)
			continue;
		pages[0] = '\0';
		for (int bit = 0; bit < 63 && used < sizeof(pages); bit++)
			if (backend->page_sizes >> bit & 1)
				used += (size_t)snprintf(pages + used, sizeof(pages) - used, " %s",
							 ctl_size_text(UINT64_C(1) << bit, a));
		printf("%19s pages%s; %s\n", "", pages, backend->capabilities);
	}
	for (uint32_t i = 0; i < info->n_pools; i++)
		printf("  hugepages %s: %llu in the pool, %llu free, %llu reserved\n",
		       ctl_size_text(info->pools[i].page_size, a),
		       (unsigned long long)info->pools[i].total,
		       (unsigned long long)info->pools[i].free,
		       (unsigned long long)info->pools[i].reserved);
	for (uint32_t i = 0; i < info->n_slots; i++)
		if (info->slots[i].capacity > 0)
			printf("  slots %s: %llu in the pool, %llu in use\n", info->slots[i].name,
			       (unsigned long long)info->slots[i].capacity,
			       (unsigned long long)info->slots[i].used);
		else
			printf("  slots %s: this host has none\n", info->slots[i].name);
}

static int show_help(void)
{
	puts("gmemctl doctor\n\n"
	     "What this host can do, kind by kind, and why not where it can't. Asks the daemon "
	     "when\n"
	     "there is one at the address, else runs gmemd --probe. Exit status 1 when no kind of\n"
	     "memory works.");
	return CTL_OK;
}

static bool any_usable(const struct gmem_host_info *info)
{
	for (uint32_t i = 0; i < info->n_backends; i++)
		if (info->backends[i].usable)
			return true;
	return false;
}

/* The host's limits are the operator's to know: NULL on other sockets and without a daemon. */
static json_object *list_limits(const struct ctl *ctl)
{
	json_object *rows;

	if (!ctl->client || !gmem_client_is_admin(ctl->client))
		return NULL;
	rows = json_object_new_array();
	if (gmem_list_policy(ctl->client, NULL, ctl_policy_row, rows) == 0)
		return rows;
	json_object_put(rows);
	return NULL;
}

static void print_limits(json_object *limits)
{
	puts("limits of the host, all tenants together:");
	ctl_print_policy(limits);
}

int cmd_doctor(struct ctl *ctl, int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	const char *asked = "the daemon";
	struct gmem_connect_spec spec = { .name = "gmemctl" };
	struct gmem_host_info info = { 0 };
	json_object *tree, *limits;
	int option, r;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		return option == 'h' ? show_help() : CTL_USAGE;
	if (optind != argc)
		return ctl_complain(ctl, CTL_USAGE, "doctor takes no argument");
	if (gmem_connect(ctl->address, &spec, &ctl->client) == 0) {
		if (gmem_get_host(ctl->client, &info) < 0)
			return ctl_fail(ctl, "doctor");
	} else {
		asked = "gmemd --probe";
		r = probe_host(ctl, &info);
		if (r != CTL_OK)
			return r;
	}
	limits = list_limits(ctl);
	if (ctl->json) {
		tree = host_tree(&info, asked);
		json_object_object_add(tree, "limits", limits);
		(void)ctl_print_json(tree);
		json_object_put(tree);
	} else {
		print_host(ctl, &info, asked);
		if (limits)
			print_limits(limits);
		json_object_put(limits);
	}
	return any_usable(&info) ? CTL_OK : CTL_FAILED;
}
