/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file_range.h"
#include "gm_cleanup.h"
#include "kinds.h"
#include "launch_rules.h"
#include "own_fd.h"
#include "slot.h"

#define FAKE_PAGE_SIZES (GM_PAGE_4K | GM_PAGE_2M | GM_PAGE_1G)
#define FAKE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct gm_backend_state {
	char unused;
};

static struct gm_fake_script *script;

const struct gm_backend *const gm_backends[] = {
	&gm_memfd_backend,
	&gm_guest_memfd_backend,
	&gm_fake_backend,
	NULL,
};

struct gm_fake_script *gm_fake_reset(void)
{
	if (!script) {
		void *map = mmap(NULL, sizeof(*script), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (map == MAP_FAILED)
			return NULL;
		script = map;
	}
	memset(script, 0, sizeof(*script));
	return script;
}

void gm_fake_fail(struct gm_fake_failure *failure, uint64_t nth, int result)
{
	atomic_store(&failure->result, result);
	atomic_store(&failure->nth, nth);
}

/* Counts a call. What it is to answer, or 0 when it is to do its work. */
static int fails_now(struct gm_fake_failure *failure)
{
	uint64_t nth = atomic_load(&failure->nth);

	while (nth != 0) {
		if (atomic_compare_exchange_weak(&failure->nth, &nth, nth - 1))
			return nth == 1 ? atomic_load(&failure->result) : 0;
	}
	return 0;
}

static void dawdle(uint64_t length)
{
	uint64_t us = script ? atomic_load(&script->slow_us_per_mib) * length / GM_MIB : 0;
	struct timespec left = {
		.tv_sec = (time_t)(us / 1000000),
		.tv_nsec = (long)(us % 1000000 * 1000),
	};

	while (us != 0 && nanosleep(&left, &left) < 0 && errno == EINTR)
		continue;
}

static int fake_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	struct gm_probe probe = {
		.usable = true,
		.caps = GM_CAP_DAEMON_CREATES | GM_CAP_MAPPABLE | GM_CAP_SEALED,
		.page_sizes = FAKE_PAGE_SIZES,
		.reason = "for tests only",
	};
	struct gm_backend_state *state;
	int r;

	r = script ? fails_now(&script->open) : 0;
	if (r != 0)
		return r;
	if (script && atomic_load(&script->unusable)) {
		*ret_probe = (struct gm_probe){ .reason = "the test says so" };
		*ret_state = NULL;
		return 0;
	}
	state = calloc(1, sizeof(*state));
	if (!state)
		return -ENOMEM;
	if (script && atomic_load(&script->is_private)) {
		probe.caps |= GM_CAP_PRIVATE;
		probe.page_sizes = GM_PAGE_4K;
	}
	if (script && atomic_load(&script->is_in_place))
		probe.caps |= GM_CAP_IN_PLACE_CONVERSION;
	if (script && atomic_load(&script->is_launched))
		probe.caps |= GM_CAP_LAUNCH;
	*ret_probe = probe;
	*ret_state = state;
	return 0;
}

static void fake_close(struct gm_backend_state *state)
{
	free(state);
}

/* The page size is in the name: nothing else of the file could tell it. */
static void format_name(char *buffer, size_t size, uint64_t page_size, const char *name)
{
	(void)snprintf(buffer, size, "fake-%llu-%s", (unsigned long long)page_size, name);
}

static int refuse(const struct gm_backing *want, int verdict, struct gm_refusal *refusal)
{
	return gm_refuse_numbers(refusal, (enum gm_verdict)verdict, GM_RULE_HUGE_PAGES_FREE,
				 "pool fake", 0, 0, want->size);
}

static int fake_create(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		       struct gm_refusal *refusal)
{
	_gm_close_ int fd = -1;
	char name[250];
	int r;

	(void)state;
	if (!gm_is_power_of_two(want->page_size) || !(want->page_size & FAKE_PAGE_SIZES) ||
	    !gm_is_aligned(want->size, want->page_size) || want->size == 0 ||
	    want->size >= GM_ADDRESS_END)
		return -EINVAL;
	r = script ? fails_now(&script->create) : 0;
	if (r != 0)
		return r > 0 ? refuse(want, r, refusal) : r;
	if (script && (atomic_load(&script->missing_page_sizes) & want->page_size))
		return refuse(want, GM_NO_RESOURCE, refusal);

	format_name(name, sizeof(name), want->page_size, want->name);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = gm_own_fd(gm_take_fd(&fd));
	if (r < 0)
		return r;
	fd = r;
	if (ftruncate(fd, (off_t)want->size) < 0 || fcntl(fd, F_ADD_SEALS, FAKE_SEALS) < 0)
		return -errno;
	*ret_fd = gm_take_fd(&fd);
	return 0;
}

static int fake_verify(int fd, uint64_t size, uint64_t page_size)
{
	char path[32], text[280], name[280];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != size)
		return -EBADF;
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR || fcntl(fd, F_GET_SEALS) != FAKE_SEALS)
		return -EBADF;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, text, sizeof(text) - 1);
	if (n < 0)
		return -EBADF;
	text[n] = '\0';
	format_name(name, sizeof(name), page_size, "");
	return strncmp(text, "/memfd:", 7) == 0 && strncmp(text + 7, name, strlen(name)) == 0
		       ? 0
		       : -EBADF;
}

static int fake_allocate(int fd, uint64_t offset, uint64_t length)
{
	int r;

	if (script)
		atomic_fetch_add(&script->n_allocates, 1);
	r = script ? fails_now(&script->allocate) : 0;
	if (r != 0)
		return r;
	dawdle(length);
	return gm_file_allocate(fd, 0, offset, length);
}

static int fake_discard(int fd, uint64_t offset, uint64_t length, uint64_t page_size)
{
	int r;

	(void)page_size;
	if (script)
		atomic_fetch_add(&script->n_discards, 1);
	r = script ? fails_now(&script->discard) : 0;
	if (r != 0)
		return r;
	dawdle(length);
	return gm_file_punch(fd, offset, length);
}

static int fake_present(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
			uint64_t *ret_bytes)
{
	int r = -EOPNOTSUPP;

	(void)page_size;
	if (script && atomic_load(&script->loses_track))
		return -EOPNOTSUPP;
	r = gm_file_cached(fd, offset, length, ret_bytes);
	if (r == -EOPNOTSUPP)
		r = gm_file_blocks(fd, offset, length, ret_bytes);
	return r;
}

/* Nobody can see whose a page of a memfd is: what the books say of it is what a test looks at. */
static int fake_convert(int fd, uint64_t offset, uint64_t length, bool to_private,
			uint64_t *ret_offset)
{
	int r;

	(void)fd;
	(void)to_private;
	if (script)
		atomic_fetch_add(&script->n_converts, 1);
	r = script ? fails_now(&script->convert) : 0;
	if (r == -EAGAIN)
		*ret_offset = offset;
	if (r == 0)
		dawdle(length);
	return r;
}

/* ---- the private half ---- */

#define HALF_NAME "fake-half"

int gm_fake_make_half(uint64_t size)
{
	_gm_close_ int fd = memfd_create(HALF_NAME, MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	return gm_take_fd(&fd);
}

static int half_verify(int fd, uint64_t size)
{
	char path[32], text[280];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != size)
		return -EBADF;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, text, sizeof(text) - 1);
	if (n < 0)
		return -EBADF;
	text[n] = '\0';
	return strncmp(text, "/memfd:" HALF_NAME, strlen("/memfd:" HALF_NAME)) == 0 ? 0 : -EBADF;
}

static const struct gm_private_half private_half = {
	.vm_type = 1,
	.memory_flags = 0,
	.verify = half_verify,
	.in_place_flags = 1,
	.verify_in_place = half_verify,
	.kind = "fake",
	.present = fake_present,
};

/* ---- the launch: a real platform's digest, without its device ---- */

static void launch_begin(uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	gm_snp_backend.launch->begin(ret_blob);
}

static int launch_finish(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const struct gm_launch_vcpus *vcpus,
			 struct gm_refusal *refusal)
{
	return gm_snp_backend.launch->finish(blob, vcpus, refusal);
}

static const uint8_t *launch_id_block_digest(const uint8_t *id_block)
{
	return id_block;
}

static const char *launch_firmware_name(uint32_t code)
{
	return gm_snp_backend.launch->firmware_name(code);
}

static const struct gm_launch_rules launch_rules = {
	.slot = GM_SLOT_ES,
	.types = 1u << GM_POPULATE_NORMAL | 1u << GM_POPULATE_ZERO | 1u << GM_POPULATE_UNMEASURED,
	.sources = 1u << GM_POPULATE_NORMAL | 1u << GM_POPULATE_UNMEASURED,
	.parameters_max = GM_PAGE_4K,
	.id_block_size = 96,
	.id_auth_size = 4096,
	.host_data_size = 32,
	.measures_vcpus = true,
	.begin = launch_begin,
	.finish = launch_finish,
	.id_block_digest = launch_id_block_digest,
	.firmware_name = launch_firmware_name,
};

const struct gm_backend gm_fake_backend = {
	.kind = "fake",
	.private_half = &private_half,
	.launch = &launch_rules,
	.open = fake_open,
	.close = fake_close,
	.create = fake_create,
	.verify = fake_verify,
	.allocate = fake_allocate,
	.discard = fake_discard,
	.present = fake_present,
	.convert = fake_convert,
};
