/* SPDX-License-Identifier: Apache-2.0 */
#include "launch_call.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

/* A second of trying: less than any daemon's patience with a step. */
#define REFUSALS_MAX 1000
#define REFUSAL_PAUSE_NS 1000000L
/* A signal each time means that there is somebody who wants this to stop. */
#define INTERRUPTS_MAX 10000

int gm_launch_call(int fd, void *envelope)
{
	return ioctl(fd, GM_LAUNCH_ENCRYPT_OP, envelope) < 0 ? -errno : 0;
}

bool gm_launch_again(struct gm_launch_patience *patience, int error, bool busy)
{
	const struct timespec pause = { .tv_nsec = REFUSAL_PAUSE_NS };

	if (error == -EINTR)
		return ++patience->interrupts <= INTERRUPTS_MAX;
	if (error != -EAGAIN && !(busy && error == -EBUSY))
		return false;
	if (++patience->refusals > REFUSALS_MAX)
		return false;
	(void)nanosleep(&pause, NULL);
	return true;
}

void *gm_launch_zeros_new(size_t size)
{
	void *zeros = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return zeros == MAP_FAILED ? NULL : zeros;
}

void gm_launch_zeros_free(void *zeros, size_t size)
{
	if (zeros)
		(void)munmap(zeros, size);
}

bool gm_launch_is_zero(const void *bytes, size_t size)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < size; i++)
		if (byte[i] != 0)
			return false;
	return true;
}

int gm_launch_check_pages(const struct gm_launch_pages *pages)
{
	if (pages->length == 0 || !gm_is_aligned(pages->length, GM_PAGE_4K) ||
	    !gm_is_aligned(pages->gpa, GM_PAGE_4K) ||
	    !gm_is_aligned((uintptr_t)pages->source, GM_PAGE_4K))
		return -EINVAL;
	return 0;
}

static const struct gm_launch_steps *const all[] = {
	&gm_sev_steps,
	&gm_sev_es_steps,
	&gm_snp_steps,
	&gm_tdx_steps,
};

const struct gm_launch_steps *gm_launch_steps_find(const char *kind)
{
	for (size_t i = 0; i < GM_ARRAY_SIZE(all); i++)
		if (strcmp(all[i]->kind, kind) == 0)
			return all[i];
	return NULL;
}
