/* SPDX-License-Identifier: Apache-2.0 */
#include "vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "gm_fd.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const char *const names[GM_STORE_PART_N_] = {
	[GM_STORE_STATE] = "gmemd-state",
	[GM_STORE_MAPS] = "gmemd-maps",
};

static int make_file(const char *name, size_t size, int *ret_fd)
{
	_gm_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	*ret_fd = gm_take_fd(&fd);
	return 0;
}

static int check_file(int fd, size_t *ret_size)
{
	struct gm_fd_identity identity;
	int seals = fcntl(fd, F_GET_SEALS);
	int r = gm_fd_identify(fd, &identity);

	if (r < 0)
		return r;
	if (seals < 0 || (seals & SEALS) != SEALS || identity.size == 0)
		return -EBADF;
	*ret_size = identity.size;
	return 0;
}

/* An open file of its own (F_OFD_SETLK): the one that came is also the keeper's. */
static int take_lock(struct gm_vault *vault)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	_gm_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", vault->fds[GM_STORE_STATE]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLK, &whole) < 0)
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	vault->lock = gm_take_fd(&fd);
	return 0;
}

/* The record is sparse: what is reserved for it must not count as used. */
static int map_file(int fd, size_t size, void **ret_at)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	/* Nothing of it is for a core file. */
	(void)madvise(at, size, MADV_DONTDUMP);
	*ret_at = at;
	return 0;
}

static int map_all(struct gm_vault *vault)
{
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++) {
		int r = map_file(vault->fds[part], vault->area.size[part], &vault->area.at[part]);

		if (r < 0)
			return r;
	}
	return 0;
}

int gm_vault_make(struct gm_vault *ret_vault)
{
	struct gm_vault vault = GM_VAULT_NULL;
	int r = 0;

	vault.area.size[GM_STORE_STATE] = gm_store_state_size(NULL);
	vault.area.size[GM_STORE_MAPS] = gm_store_maps_size(NULL);
	for (unsigned part = 0; part < GM_STORE_PART_N_ && r == 0; part++)
		r = make_file(names[part], vault.area.size[part], &vault.fds[part]);
	if (r == 0)
		r = take_lock(&vault);
	if (r == 0)
		r = map_all(&vault);
	if (r < 0) {
		gm_vault_done(&vault);
		return r;
	}
	*ret_vault = vault;
	return 0;
}

int gm_vault_adopt(int state, int maps, struct gm_vault *ret_vault)
{
	struct gm_vault vault = { .fds = { [GM_STORE_STATE] = state, [GM_STORE_MAPS] = maps },
				  .lock = -1 };
	int r = 0;

	for (unsigned part = 0; part < GM_STORE_PART_N_ && r == 0; part++)
		r = check_file(vault.fds[part], &vault.area.size[part]);
	if (r == 0)
		r = take_lock(&vault);
	if (r == 0)
		r = map_all(&vault);
	if (r < 0) {
		vault.fds[GM_STORE_STATE] = vault.fds[GM_STORE_MAPS] = -1;
		gm_vault_done(&vault);
		return r;
	}
	*ret_vault = vault;
	return 0;
}

void gm_vault_close_fds(struct gm_vault *vault)
{
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		gm_fd_close(gm_take_fd(&vault->fds[part]));
}

/* Punches a hole, which needs no fd; where it fails some memory stays in use. */
void gm_vault_release(void *arg, enum gm_store_part part, uint64_t offset, uint64_t length)
{
	const struct gm_vault *vault = arg;

	(void)madvise((char *)vault->area.at[part] + offset, length, MADV_REMOVE);
}

void gm_vault_done(struct gm_vault *vault)
{
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++) {
		if (vault->area.at[part] != NULL)
			(void)munmap(vault->area.at[part], vault->area.size[part]);
		vault->area.at[part] = NULL;
	}
	gm_vault_close_fds(vault);
	gm_fd_close(gm_take_fd(&vault->lock));
}
