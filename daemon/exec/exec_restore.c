/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an fd that comes from the fd store is what the record says.
 */
#include "exec_job.h"
#include "gm_fd.h"

/* A file that is not known (0, 0) is known by nothing but its kind and size. */
static bool is_that_file(const struct gm_file_id *file, const struct gm_fd_identity *identity)
{
	if (file->device == 0 && file->inode == 0)
		return true;
	return file->device == identity->device && file->inode == identity->inode;
}

const char *gm_exec_doubt_half(const struct gm_exec *exec, const char *kind,
			       const struct gm_region_restore *from, int fd)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, kind);
	struct gm_fd_identity identity;

	if (slot == NULL || slot->backend->private_half == NULL)
		return "its kind has no private memory any more";
	if (fd < 0)
		return "its private memory is not in the fd store";
	if (gm_fd_identify(fd, &identity) < 0)
		return "its private memory cannot be looked at";
	if (!is_that_file(&from->private_file, &identity))
		return "what is stored as its private memory is another file";
	if (gm_exec_verify_half(slot->backend->private_half,
				gm_exec_traits(slot) & GM_TRAIT_IN_PLACE, fd, from->size) != 0)
		return "what is stored as its private memory is none";
	return NULL;
}

const char *gm_exec_doubt_fd(const struct gm_exec *exec, const char *kind,
			     const struct gm_region_restore *from, int fd)
{
	const struct gm_exec_backend *slot = gm_exec_find(exec, kind);
	struct gm_fd_identity identity;

	if (slot == NULL)
		return "its kind of memory is not known";
	if (fd < 0)
		return "its memory is not in the fd store";
	if (gm_fd_identify(fd, &identity) < 0)
		return "its memory cannot be looked at";
	if (!is_that_file(&from->file, &identity))
		return "what is stored for it is another file";
	if (identity.size != from->size)
		return "what is stored for it has another size";
	if (slot->backend->verify(fd, from->size, from->page_size) != 0)
		return "what is stored for it is memory of another kind";
	return NULL;
}
