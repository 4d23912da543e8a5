/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

int run_signals_hold(struct run_signals *signals)
{
	static const int passed_on[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction action;

	(void)sigemptyset(&signals->taken);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
		if (sigaction(passed_on[i], NULL, &action) < 0)
			return -errno;
		/* Under nohup, or in the background of a script, it is to be ignored by both. */
		if (action.sa_handler != SIG_IGN)
			(void)sigaddset(&signals->taken, passed_on[i]);
	}
	/* Were it ignored, there would be no exit status to wait for. */
	if (signal(SIGCHLD, SIG_DFL) == SIG_ERR ||
	    sigprocmask(SIG_BLOCK, &signals->taken, &signals->before) < 0)
		return -errno;
	return 0;
}

int run_signals_pending(const struct run_signals *signals)
{
	sigset_t pending;

	if (sigpending(&pending) < 0)
		return 0;
	for (int number = 1; number < SIGRTMIN; number++)
		if (sigismember(&pending, number) == 1 && sigismember(&signals->taken, number) == 1)
			return number;
	return 0;
}

/* Between fork and exec. Returns when that has failed. */
static int become(const struct run_child *child, const struct run_signals *signals, pid_t parent)
{
	/*
	 * The kernel sends it when the thread that forked is gone, which may have been before the
	 * call: then the parent is another one already.
	 */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return errno;
	if (getppid() != parent)
		return ESRCH;
	for (size_t i = 0; i < child->n_inherited; i++)
		if (fcntl(child->inherited[i], F_SETFD, 0) < 0)
			return errno;
	if (sigprocmask(SIG_SETMASK, &signals->before, NULL) < 0)
		return errno;
	(void)execvp(child->words[0], child->words);
	return errno;
}

/* 0: exec has closed the other end. */
static int read_failure(int fd)
{
	int failure = 0;
	ssize_t n;

	do
		n = read(fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(failure) ? failure : 0;
}

int run_child_start(const struct run_child *child, const struct run_signals *signals,
		    pid_t *ret_pid)
{
	pid_t pid, parent = getpid();
	int failure, ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		failure = become(child, signals, parent);
		(void)!write(ends[1], &failure, sizeof(failure));
		_exit(CTL_FAILED);
	}
	failure = pid < 0 ? errno : 0;
	/* From here on, the end of who reads our complaints must not be the end of the guest. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)close(ends[1]);
	if (failure == 0)
		failure = read_failure(ends[0]);
	(void)close(ends[0]);
	if (failure == 0)
		*ret_pid = pid;
	else if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return -failure;
}

/*
 * Memory that gmemd has lost stays with whoever has it open, and nobody else can attach to it: that
 * is no reason to end a guest.
 */
static void note_loss(struct run_session *session, uint64_t loss)
{
	if (loss == GMEM_LOSS_TAKEN)
		session->lost = "another process has attached to the domain while gmemd was away";
	else
		fputs("gmemctl: gmemd has come back without this domain: the command runs on, but "
		      "its memory is in no books and ends with it\n",
		      stderr);
}

void run_session_event(void *arg, int type, gmem_domain *domain, uint64_t value)
{
	struct run_session *session = arg;

	(void)domain;
	if (type == GMEM_EVENT_DOMAIN_EVICTED)
		session->lost = "the domain was ended by an operator or with its token";
	else if (type == GMEM_EVENT_DOMAIN_TAKEN_OVER)
		session->lost = "the domain was taken over by another process";
	else if (type == GMEM_EVENT_DOMAIN_LOST)
		note_loss(session, value);
	else if (type == GMEM_EVENT_DISCONNECTED)
		session->gone = true;
	else if (type == GMEM_EVENT_SHUTDOWN)
		fprintf(stderr, "gmemctl: gmemd stops in %llu ms; the command runs on\n",
			(unsigned long long)value);
}

/* A terminal's keys reach every process of the foreground group: the child has had them. */
static void pass_on(int signals, pid_t pid)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		bool key = info.ssi_code == SI_KERNEL &&
			   (info.ssi_signo == SIGINT || info.ssi_signo == SIGQUIT);

		if (info.ssi_signo != SIGCHLD && !key)
			(void)kill(pid, (int)info.ssi_signo);
	}
}

static void dispatch(struct ctl *ctl, struct run_session *session)
{
	int r = gmem_dispatch(ctl->client);

	if (r == -GMEM_DISCONNECTED || r == -GMEM_PROTOCOL)
		session->gone = true;
	if (session->gone)
		(void)ctl_complain(ctl, CTL_NO_DAEMON,
				   "gmemd is gone: the command runs on, but whoever has the token "
				   "may attach to its memory once gmemd is back");
}

static void kill_for_loss(struct ctl *ctl, pid_t pid, struct run_session *session)
{
	(void)ctl_complain(ctl, CTL_FAILED,
			   "%s: the command is killed, for the memory is not its own any more",
			   session->lost);
	(void)kill(pid, SIGKILL);
	session->lost = NULL;
}

static int status_of(struct ctl *ctl, int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	(void)ctl_complain(ctl, CTL_FAILED, "the command was ended by signal %d (%s)",
			   WTERMSIG(status), strsignal(WTERMSIG(status)));
	return RUN_SIGNALLED + WTERMSIG(status);
}

static int watch(struct ctl *ctl, pid_t pid, int signals, struct run_session *session)
{
	int status, failure;
	pid_t r;

	for (;;) {
		/* A negative fd is passed over. */
		struct pollfd fds[] = { { .fd = signals, .events = POLLIN },
					{ .fd = session->gone ? -1 : gmem_client_fd(ctl->client),
					  .events = POLLIN } };

		r = waitpid(pid, &status, WNOHANG);
		if (r == pid)
			return status_of(ctl, status);
		if (session->lost)
			kill_for_loss(ctl, pid, session);
		if (r < 0 || (poll(fds, 2, -1) < 0 && errno != EINTR))
			break;
		if (fds[0].revents)
			pass_on(signals, pid);
		if (fds[1].revents)
			dispatch(ctl, session);
	}
	failure = errno;
	(void)kill(pid, SIGKILL);
	return ctl_complain(ctl, CTL_FAILED, "waiting for the command: %s", strerror(failure));
}

int run_child_watch(struct ctl *ctl, pid_t pid, const struct run_signals *signals,
		    struct run_session *session)
{
	sigset_t set = signals->taken;
	int fd, r;

	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return ctl_complain(ctl, CTL_FAILED, "sigprocmask: %s", strerror(errno));
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return ctl_complain(ctl, CTL_FAILED, "signalfd: %s", strerror(errno));
	r = watch(ctl, pid, fd, session);
	(void)close(fd);
	return r;
}
