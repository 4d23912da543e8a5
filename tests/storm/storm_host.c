/* SPDX-License-Identifier: Apache-2.0 */
#include "storm_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "storm.h"

#define PATIENCE_US UINT64_C(30000000)

int storm_keeper_prepare(struct storm_keeper *keeper, const char *policy)
{
	_gm_close_ int fd = -1;

	(void)snprintf(keeper->folder, sizeof(keeper->folder), "/tmp/gmem-storm-XXXXXX");
	if (!mkdtemp(keeper->folder))
		return -errno;
	(void)snprintf(keeper->log, sizeof(keeper->log), "%s/log", keeper->folder);
	(void)snprintf(keeper->faults, sizeof(keeper->faults), "%s/faults", keeper->folder);
	(void)snprintf(keeper->policy, sizeof(keeper->policy), "%s/policy", keeper->folder);
	fd = open(keeper->policy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, policy, strlen(policy)) < 0)
		return -errno;
	return 0;
}

static void become_keeper(const struct storm_keeper *keeper, const char *program,
			  const char *const *args) __attribute__((noreturn));

static void become_keeper(const struct storm_keeper *keeper, const char *program,
			  const char *const *args)
{
	union {
		const char *const *constant;
		char **words;
	} argv = { .constant = args };
	int log = open(keeper->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

	/* A storm that fails leaves no daemon behind. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	(void)close_range(3, ~0U, 0);
	(void)setenv("GMEMD_FAULTS_FILE", keeper->faults, 1);
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("LISTEN_FDS");
	execv(program, argv.words);
	_exit(127);
}

int storm_keeper_start(struct storm_keeper *keeper, const char *program, const char *const *args)
{
	keeper->pid = fork();
	if (keeper->pid < 0)
		return -errno;
	if (keeper->pid == 0)
		become_keeper(keeper, program, args);
	return 0;
}

static bool read_text(const char *path, char *text, size_t size)
{
	_gm_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* One that a dead daemon has left, and that is about to end. */
static bool is_stray(pid_t pid)
{
	char path[64], name[32];

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	return !read_text(path, name, sizeof(name)) || strcmp(name, "gmemd-worker\n") == 0;
}

pid_t storm_keeper_child(const struct storm_keeper *keeper)
{
	char path[64], text[256];
	char *at = text, *end;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper->pid,
		       (int)keeper->pid);
	if (!read_text(path, text, sizeof(text)))
		return 0;
	for (;; at = end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);

		if (end == at)
			return 0;
		if (!is_stray(pid))
			return pid;
	}
}

pid_t storm_keeper_wait_child(const struct storm_keeper *keeper, pid_t last)
{
	uint64_t until_us = storm_now_us() + PATIENCE_US;

	while (storm_now_us() < until_us) {
		pid_t child = storm_keeper_child(keeper);

		if (child > 0 && child != last)
			return child;
		storm_nap_us(200);
	}
	return 0;
}

int storm_keeper_stop(struct storm_keeper *keeper)
{
	uint64_t until_us = storm_now_us() + PATIENCE_US;
	int status;

	if (keeper->pid <= 0)
		return 0;
	(void)kill(keeper->pid, SIGTERM);
	while (storm_now_us() < until_us) {
		if (waitpid(keeper->pid, &status, WNOHANG) == keeper->pid) {
			keeper->pid = 0;
			return status;
		}
		storm_nap_us(1000);
	}
	(void)kill(keeper->pid, SIGKILL);
	(void)waitpid(keeper->pid, &status, 0);
	keeper->pid = 0;
	return -1;
}

static bool is_fault(const char *line)
{
	if (strstr(line, "was killed by signal"))
		return !strstr(line, "signal 9:");
	return strstr(line, "ended with status") || strstr(line, "runtime error:") ||
	       strstr(line, "Sanitizer") || strstr(line, "not zero");
}

bool storm_keeper_find_fault(const struct storm_keeper *keeper, char *ret_line, size_t size)
{
	FILE *log = fopen(keeper->log, "re");
	bool found = false;

	while (log && !found && fgets(ret_line, (int)size, log))
		found = is_fault(ret_line);
	if (log)
		(void)fclose(log);
	if (found)
		ret_line[strcspn(ret_line, "\n")] = '\0';
	return found;
}

void storm_keeper_clear(struct storm_keeper *keeper, bool keep_log)
{
	DIR *folder = opendir(keeper->folder);
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char path[400];

		(void)snprintf(path, sizeof(path), "%s/%s", keeper->folder, entry->d_name);
		if (entry->d_name[0] != '.' && !(keep_log && strcmp(path, keeper->log) == 0))
			(void)unlink(path);
	}
	if (folder)
		(void)closedir(folder);
	(void)rmdir(keeper->folder);
}
