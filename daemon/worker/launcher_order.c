/* SPDX-License-Identifier: Apache-2.0 */
/* gmemd's side of a launch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "channel.h"
#include "gm_cleanup.h"
#include "launcher.h"

int gm_launch_send_order(int socket, const struct gm_launch_order *order)
{
	const struct gm_launch_head *head = &order->head;
	struct iovec parts[] = {
		{ (void *)head, sizeof(*head) },
		{ (void *)order->region_sizes, head->n_regions * sizeof(*order->region_sizes) },
		{ (void *)order->puts, head->n_puts * sizeof(*order->puts) },
		{ (void *)order->vcpu_pages,
		  order->vcpu_pages ? head->n_vcpu_pages * GM_PAGE_4K : 0 },
		{ (void *)order->parameters, head->parameters_size },
	};
	const size_t fds_size = order->n_fds * sizeof(*order->fds);
	_gm_free_ struct cmsghdr *control = calloc(1, CMSG_SPACE(fds_size));
	const struct msghdr message = {
		.msg_iov = parts,
		.msg_iovlen = GM_ARRAY_SIZE(parts),
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(fds_size),
	};

	if (!control)
		return -ENOMEM;
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(fds_size);
	memcpy(CMSG_DATA(control), order->fds, fds_size);
	return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static bool is_text(const char *text, size_t size)
{
	const char *end = memchr(text, '\0', size);

	for (const char *at = text; end && at < end; at++)
		if (*at < 0x20 || *at > 0x7e)
			return false;
	return end != NULL;
}

/* The worker may have been taken over by what it has mapped. */
int gm_launch_read_result(int socket, struct gm_launch_result *ret_result, int *ret_vm)
{
	struct gm_launch_result result;
	_gm_close_ int vm = -1;
	ssize_t n = gm_channel_recv(socket, &result, sizeof(result), &vm, MSG_DONTWAIT);

	if (n == 0 || n == -EAGAIN)
		return -ENODATA;
	if (n != sizeof(result) || result.error > 0 || (result.error == 0) != (vm >= 0) ||
	    !is_text(result.request, sizeof(result.request)) ||
	    !is_text(result.reason, sizeof(result.reason)))
		return -EPROTO;
	*ret_result = result;
	*ret_vm = gm_take_fd(&vm);
	return 0;
}
