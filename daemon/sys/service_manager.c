/* SPDX-License-Identifier: Apache-2.0 */
#include "service_manager.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "gm_fd.h"

#define STATUS_SIZE 256

/* '@' is in the names that systemd makes of units: "gmemd@acme.socket". */
static bool name_is_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._:-@";
	size_t length = strlen(name);

	return length > 0 && length < sizeof(((struct gm_inherited *)0)->name) &&
	       strspn(name, allowed) == length;
}

static void names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static int take_socket(struct gm_inherited_fds *inherited, const char *name, int fd)
{
	struct gm_inherited *entry = &inherited->sockets[inherited->n_sockets];

	if (!name_is_valid(name))
		return -EINVAL;
	if (inherited->n_sockets == GM_INHERITED_MAX)
		return -E2BIG;
	entry->fd = fd;
	memcpy(entry->name, name, strlen(name) + 1);
	inherited->n_sockets++;
	return 0;
}

static int sort_by_name(struct gm_inherited_fds *inherited, int n, char **names)
{
	int error = 0;

	for (int i = 0; i < n && !error; i++) {
		struct gm_stored stored = { .fd = SD_LISTEN_FDS_START + i };

		if (gm_stored_parse(names[i], &stored.kind, &stored.record))
			inherited->stored[inherited->n_stored++] = stored;
		else
			error = take_socket(inherited, names[i], stored.fd);
	}
	return error;
}

static int allocate(struct gm_inherited_fds *inherited, int n, char **names)
{
	enum gm_stored_kind kind;
	uint32_t record;
	size_t n_stored = 0;

	for (int i = 0; i < n; i++)
		n_stored += gm_stored_parse(names[i], &kind, &record);
	/* Never 0 of anything: calloc may answer that with NULL. */
	inherited->stored = calloc(n_stored + 1, sizeof(*inherited->stored));
	inherited->sockets = calloc((size_t)n - n_stored + 1, sizeof(*inherited->sockets));
	return inherited->stored && inherited->sockets ? 0 : -ENOMEM;
}

static void free_arrays(struct gm_inherited_fds *inherited)
{
	free(inherited->sockets);
	free(inherited->stored);
	*inherited = (struct gm_inherited_fds){ 0 };
}

int gm_inherited_take(struct gm_inherited_fds *ret_inherited)
{
	struct gm_inherited_fds inherited = { 0 };
	char **names = NULL;
	/* Sets close-on-exec on each. */
	int n = sd_listen_fds_with_names(1, &names);
	int error = n;

	if (n >= 0)
		error = allocate(&inherited, n, names);
	if (!error)
		error = sort_by_name(&inherited, n, names);
	names_free(names);
	if (error) {
		/* The caller cannot own what it has not been told of. */
		for (int i = 0; i < n; i++)
			gm_fd_close(SD_LISTEN_FDS_START + i);
		free_arrays(&inherited);
		return error;
	}
	*ret_inherited = inherited;
	return 0;
}

void gm_inherited_done(struct gm_inherited_fds *inherited)
{
	for (size_t i = 0; i < inherited->n_sockets; i++)
		gm_fd_close(inherited->sockets[i].fd);
	for (size_t i = 0; i < inherited->n_stored; i++)
		gm_fd_close(inherited->stored[i].fd);
	free_arrays(inherited);
}

/* Nothing depends on the outcome: without a service manager nobody listens. */
static void notify(const char *message)
{
	(void)sd_notify(0, message);
}

void gm_notify_ready(void)
{
	notify("READY=1");
}

void gm_notify_stopping(void)
{
	notify("STOPPING=1");
}

void gm_notify_watchdog(void)
{
	notify("WATCHDOG=1");
}

void gm_notify_status(const char *format, ...)
{
	char message[STATUS_SIZE] = "STATUS=";
	size_t used = strlen(message);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(message + used, sizeof(message) - used, format, arguments);
	va_end(arguments);
	/* A line end would begin another assignment. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
	notify(message);
}

uint64_t gm_watchdog_interval_ms(void)
{
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	return gm_max_u64(usec / 2000, 1);
}
