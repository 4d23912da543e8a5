/* SPDX-License-Identifier: Apache-2.0 */
#include "subject.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct subject *subject_of(void **state)
{
	struct subject *subject = *state;

	if (subject->short_of_pages) {
		print_message("%s: the host gave no hugepages for this\n", subject->name);
		skip();
	}
	return subject;
}

uint64_t subject_size(const struct subject *subject)
{
	return subject->n_pages * subject->page_size;
}

int subject_create_pages(const struct subject *subject, uint64_t n_pages)
{
	const struct gm_backing want = {
		.size = n_pages * subject->page_size,
		.page_size = subject->page_size,
		.name = "contract",
	};
	struct gm_refusal refusal = { 0 };
	int fd = -1;

	assert_int_equal(subject->backend->create(subject->state, &want, &fd, &refusal), 0);
	return fd;
}

int subject_create(const struct subject *subject)
{
	return subject_create_pages(subject, subject->n_pages);
}

uint64_t subject_present(const struct subject *subject, int fd, uint64_t page, uint64_t n_pages)
{
	uint64_t bytes;
	int r;

	r = subject->backend->present(fd, page * subject->page_size, n_pages * subject->page_size,
				      subject->page_size, &bytes);
	if (r == -EOPNOTSUPP)
		return UINT64_MAX;
	assert_int_equal(r, 0);
	return bytes;
}

unsigned char *map_all(int fd, uint64_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	return map;
}

void unmap_all(unsigned char *map, uint64_t size)
{
	assert_int_equal(munmap(map, size), 0);
}

void page_stamp(unsigned char *map, uint64_t page_size, uint64_t page, unsigned char value)
{
	map[page * page_size] = value;
	map[(page + 1) * page_size - 1] = value;
}

bool page_has(const unsigned char *map, uint64_t page_size, uint64_t page, unsigned char value)
{
	return map[page * page_size] == value && map[(page + 1) * page_size - 1] == value;
}

bool page_is_zero(const unsigned char *map, uint64_t page_size, uint64_t page)
{
	const unsigned char *first = map + page * page_size;

	for (uint64_t at = 0; at < page_size; at += GM_PAGE_4K) {
		if (first[at] != 0 || first[at + GM_PAGE_4K - 1] != 0)
			return false;
	}
	return true;
}

int in_child(unsigned uid, int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	/* The child must not print what is in the parent's buffers. */
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (uid != 0 && geteuid() == 0 &&
		    (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
			_exit(99);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
