/* SPDX-License-Identifier: Apache-2.0 */
/* The shared mapping: made, attached, locked; and who the caller is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gm_platform.h"
#include "state.h"

#define MAGIC UINT64_C(0x314d4c50444d4d47)

struct gp_state *gp_state;
char gp_folder[PATH_MAX];
bool gp_is_confined;

static uint64_t *address_space; /* a page that fork() wipes */

static int folder_of(const char *path, char *folder, size_t size)
{
	return snprintf(folder, size, "%s.d", path) >= (int)size ? -ENAMETOOLONG : 0;
}

/* For every user: a VMM runs as another one than the daemon. */
static int make_file(const char *folder, const char *name, uint64_t *ret_inode)
{
	char path[PATH_MAX + 32];
	struct stat st;
	int fd, r = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0666) < 0 || fstat(fd, &st) < 0)
		r = -errno;
	else
		*ret_inode = st.st_ino;
	(void)close(fd);
	return r;
}

static int init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;
	int r = pthread_mutexattr_init(&attr);

	if (r != 0)
		return -r;
	r = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (r == 0)
		r = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (r == 0)
		r = pthread_mutex_init(lock, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	return -r;
}

static int init_state(struct gp_state *state, const char *folder, uint32_t version)
{
	struct stat st;
	uint64_t inode;
	int r;

	if (stat(folder, &st) < 0)
		return -errno;
	state->version = version;
	state->hash = true;
	state->device = st.st_dev;
	state->capacity[GP_POOL_SEV] = 8;
	state->capacity[GP_POOL_SEV_ES] = 8;
	state->capacity[GP_POOL_TDX] = 8;
	r = make_file(folder, "kvm", &state->kvm_inode);
	if (r == 0)
		r = make_file(folder, "sev", &state->sev_inode);
	if (r == 0)
		r = make_file(folder, "misc.capacity", &inode);
	if (r == 0)
		r = make_file(folder, "misc.current", &inode);
	if (r == 0)
		r = init_lock(&state->lock);
	if (r == 0)
		state->magic = MAGIC;
	return r;
}

static int map_file(int fd, struct gp_state **ret_state)
{
	void *map = mmap(NULL, sizeof(struct gp_state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	*ret_state = map;
	return 0;
}

int gm_platform_new(const char *path, const char *version)
{
	char folder[PATH_MAX];
	struct gp_state *state;
	uint32_t i = 0;
	int fd, r;

	while (i < GM_PLATFORM_VERSIONS && strcmp(gm_platform_versions[i], version) != 0)
		i++;
	if (i == GM_PLATFORM_VERSIONS)
		return -EINVAL;
	r = folder_of(path, folder, sizeof(folder));
	if (r < 0)
		return r;
	gm_platform_remove(path);
	if (mkdir(folder, 0777) < 0 || chmod(folder, 0777) < 0)
		return -errno;
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	r = fchmod(fd, 0666) < 0 || ftruncate(fd, sizeof(struct gp_state)) < 0 ? -errno : 0;
	if (r == 0)
		r = map_file(fd, &state);
	(void)close(fd);
	if (r < 0)
		return r;
	r = init_state(state, folder, i);
	(void)munmap(state, sizeof(*state));
	return r;
}

void gm_platform_remove(const char *path)
{
	char folder[PATH_MAX], file[PATH_MAX + 260];
	const struct dirent *entry;
	DIR *dir;

	if (folder_of(path, folder, sizeof(folder)) < 0)
		return;
	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		(void)snprintf(file, sizeof(file), "%s/%s", folder, entry->d_name);
		(void)unlink(file);
	}
	if (dir)
		(void)closedir(dir);
	(void)rmdir(folder);
	(void)unlink(path);
}

int gm_platform_attach(const char *path)
{
	struct gp_state *state;
	struct stat st;
	int fd, r;

	if (gp_state)
		return -EALREADY;
	r = folder_of(path, gp_folder, sizeof(gp_folder));
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_size != sizeof(struct gp_state))
		r = -EINVAL;
	else
		r = map_file(fd, &state);
	(void)close(fd);
	if (r < 0)
		return r;
	if (state->magic != MAGIC || state->version >= GM_PLATFORM_VERSIONS) {
		(void)munmap(state, sizeof(*state));
		return -EINVAL;
	}
	gp_state = state;
	(void)gp_address_space();
	gp_lock();
	gp_write_misc();
	gp_unlock();
	return 0;
}

void gm_platform_detach(void)
{
	if (gp_state)
		(void)munmap(gp_state, sizeof(*gp_state));
	gp_state = NULL;
}

/* One who died in the middle leaves what a kernel would have finished: good enough to go on. */
void gp_lock(void)
{
	if (pthread_mutex_lock(&gp_state->lock) == EOWNERDEAD)
		(void)pthread_mutex_consistent(&gp_state->lock);
}

void gp_unlock(void)
{
	(void)pthread_mutex_unlock(&gp_state->lock);
}

const struct gp_profile *gp_profile(void)
{
	return &gp_profiles[gp_state->version];
}

/*
 * The kernel wipes the page when it copies an address space, and leaves it where one is shared
 * (CLONE_VM): exactly where kvm->mm != current->mm tells two apart. exec has none of it.
 */
uint64_t gp_address_space(void)
{
	if (!address_space) {
		void *page = mmap(NULL, GP_PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED || madvise(page, GP_PAGE_SIZE, MADV_WIPEONFORK) < 0)
			abort();
		address_space = page;
	}
	while (*address_space == 0)
		if (getrandom(address_space, sizeof(*address_space), 0) < 0 && errno != EINTR)
			abort();
	return *address_space;
}
