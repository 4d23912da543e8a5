/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const char *const __start_gm_fault_points[];
extern const char *const __stop_gm_fault_points[];

static struct gm_fault_page *page;
static pid_t owner;

static unsigned n_points(void)
{
	return (unsigned)(__stop_gm_fault_points - __start_gm_fault_points);
}

void gm_fault_open(void)
{
	const char *path = getenv("GMEMD_FAULTS_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (at == MAP_FAILED || n_points() > GM_FAULT_POINTS_MAX)
		abort();
	page = at;
	owner = getpid();
	for (unsigned i = 0; i < n_points(); i++)
		(void)snprintf(page->points[i].name, sizeof(page->points[i].name), "%s",
			       __start_gm_fault_points[i]);
	atomic_store(&page->n_points, n_points());
}

void gm_fault_visit(const char *const *point)
{
	unsigned index = (unsigned)(point - __start_gm_fault_points);
	unsigned armed = index + 1;

	if (!page || getpid() != owner)
		return;
	atomic_fetch_add(&page->points[index].visits, 1);
	if (atomic_load(&page->armed) != armed || atomic_fetch_sub(&page->countdown, 1) > 1)
		return;
	atomic_store(&page->countdown, 1);
	if (!atomic_compare_exchange_strong(&page->armed, &armed, atomic_exchange(&page->then, 0)))
		return;
	atomic_fetch_add(&page->points[index].kills, 1);
	/* The daemon has one thread, which the sandbox lets it send signals to. */
	(void)syscall(SYS_tgkill, owner, owner, SIGKILL);
	for (;;)
		(void)pause();
}
