/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fd of a stranger, by way of a real worker: memory passes, nothing else does, and nobody waits
 * for a worker that is kept.
 */
#include "crew_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gm_fd.h"

/* A job, and the stranger's end of its socket. */
struct box {
	struct work work;
	struct gm_crew *crew;
	bool ready;
	int fd; /* that came, or -1 */
	int end;
};

static void on_ready(void *arg)
{
	struct box *box = arg;

	assert_false(box->ready);
	box->ready = true;
}

static void on_received(void *arg, int fd)
{
	struct box *box = arg;

	assert_int_equal(box->fd, -1);
	box->fd = fd;
}

static void on_end(void *arg, enum gm_job_end how, int error)
{
	struct box *box = arg;

	box->work.n_ends++;
	box->work.ended = true;
	box->work.how = how;
	box->work.error = error;
}

static const struct gm_crew_job_ops ops = { .ready = on_ready,
					    .received = on_received,
					    .end = on_end };

static void box_open(struct box *box)
{
	static struct gm_job_order order;
	int ends[2];

	order = order_of("memfd", GM_JOB_RECEIVE, CHUNK, 1);
	order.n_ranges = 0;
	*box = (struct box){ .fd = -1, .crew = crew_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(
		gm_crew_submit(box->crew, &order, ends[1], NULL, &ops, box, &box->work.job), 0);
	gm_fd_close(ends[1]);
	box->end = ends[0];
	for (unsigned i = 0; i < 200 && !box->ready; i++)
		run_for(10);
	assert_true(box->ready);
}

static void box_close(struct box *box)
{
	gm_crew_free(box->crew);
	gm_fd_close(box->end);
	gm_fd_close(box->fd);
}

#define FDS_MOST 253

static void box_send(const struct box *box, const int *fds, size_t n)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(FDS_MOST * sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	assert_int_equal(sendmsg(box->end, &msg, MSG_NOSIGNAL), 1);
}

static void a_memfd_passes_and_is_the_very_one(void **state)
{
	struct gm_fd_identity sent, came;
	struct box box;

	(void)state;
	begin(1, 1000);
	box_open(&box);
	box_send(&box, &memory, 1);
	run_until_ended(&box.work);
	assert_int_equal(box.work.how, GM_JOB_DONE);
	assert_int_equal(gm_fd_identify(memory, &sent), 0);
	assert_int_equal(gm_fd_identify(box.fd, &came), 0);
	assert_int_equal(sent.inode, came.inode);
	assert_true(fcntl(box.fd, F_GETFD) & FD_CLOEXEC);
	box_close(&box);
	end();
}

static void expect_error(const int *fds, size_t n, int error)
{
	struct box box;

	box_open(&box);
	box_send(&box, fds, n);
	run_until_ended(&box.work);
	assert_int_equal(box.work.how, GM_JOB_ERROR);
	assert_int_equal(box.work.error, error);
	assert_int_equal(box.fd, -1);
	box_close(&box);
}

static void no_other_file_passes(void **state)
{
	int path = open("/", O_PATH | O_CLOEXEC);
	int fds[2];

	(void)state;
	begin(1, 1000);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	expect_error(&fds[0], 1, EBADF);
	expect_error(&path, 1, EBADF);
	gm_fd_close(fds[0]);
	gm_fd_close(fds[1]);
	gm_fd_close(path);
	end();
}

static void nothing_but_one_fd_passes(void **state)
{
	int many[FDS_MOST];
	struct box box;

	(void)state;
	begin(1, 1000);
	for (size_t i = 0; i < FDS_MOST; i++)
		many[i] = memory;
	expect_error(many, 0, EBADMSG);
	expect_error(many, 2, EBADMSG);
	expect_error(many, FDS_MOST, EBADMSG);
	box_open(&box);
	gm_fd_close(box.end);
	box.end = -1;
	run_until_ended(&box.work);
	assert_int_equal(box.work.how, GM_JOB_ERROR);
	assert_int_equal(box.work.error, EPIPE);
	box_close(&box);
	end();
}

/* It might be kept by what came to it. */
static void a_worker_looks_into_one_box_and_ends(void **state)
{
	struct box box;
	pid_t pids[2];

	(void)state;
	begin(1, 60000);
	box_open(&box);
	assert_int_equal(getpgid(the_worker()), the_worker());
	box_send(&box, &memory, 1);
	run_until_ended(&box.work);
	run_for(100);
	assert_int_equal(workers(pids, 2), 0);
	assert_int_equal(gm_crew_hub_workers(hub), 0);
	box_close(&box);
	end();
}

static void nobody_waits_for_a_worker_that_does_not_answer(void **state)
{
	struct box box;

	(void)state;
	begin(1, 1000);
	box_open(&box);
	assert_int_equal(kill(the_worker(), SIGSTOP), 0);
	box_send(&box, &memory, 1);
	gm_crew_cancel(box.work.job);
	/* In the hub's next turn, and not when the worker's patience is over. */
	run_for(20);
	assert_true(box.work.ended);
	assert_int_equal(box.work.how, GM_JOB_CANCELLED);
	box_close(&box);
	end();
}

static void what_came_before_the_job_was_given_up_is_not_lost(void **state)
{
	struct box box;

	(void)state;
	begin(1, 1000);
	box_open(&box);
	box_send(&box, &memory, 1);
	/* The worker answers, and nobody has read that yet. */
	usleep(100 * 1000);
	gm_crew_cancel(box.work.job);
	assert_true(box.fd >= 0);
	run_until_ended(&box.work);
	box_close(&box);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_memfd_passes_and_is_the_very_one),
		gm_test(no_other_file_passes),
		gm_test(nothing_but_one_fd_passes),
		gm_test(a_worker_looks_into_one_box_and_ends),
		gm_test(nobody_waits_for_a_worker_that_does_not_answer),
		gm_test(what_came_before_the_job_was_given_up_is_not_lost),
	};

	return gm_test_run("crew receive", tests, GM_ARRAY_SIZE(tests));
}
