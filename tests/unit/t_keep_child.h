/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a keeper under test keeps alive: the test program itself, started anew as
 * "t_keep child SCENARIO". It ends with 0 when all was as it should be, with 9 and a STATUS line
 * when not; it dies in other ways where that is the scenario.
 */
#ifndef T_KEEP_CHILD_H
#define T_KEEP_CHILD_H

#define T_KEEP_CHILD_BAD 9

/* Never returns when the words are those of a child. */
void t_keep_child(int argc, char **argv);

#endif
