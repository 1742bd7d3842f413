/* hostile: worker processes that misbehave. Which one does, and how, is said by $SKIFF_HOSTILE, "MODE:LINE:SEED" (LINE is
 * the worker's place on the board, -1: all of them):
 *
 *   noise     a real worker, but among its messages there are doubles, old ones once more, damaged and cut copies, and
 *             random bytes
 * and those that only know how to echo argument 0:
 *   twice     answers everything twice
 *   reversed  lets jobs gather and answers the last one first
 *   wrong     sends all kinds of messages that cannot be before each answer
 *   answers   sends answers that cannot be before each one
 *   random    sends random messages before each answer
 *   ring      damages its ring at its third job
 *   scribble  fills its whole line of the board with random bytes at its third job
 *   silent    never says anything
 *   bye       says that it ends at its third job, and does */
#ifndef SK_TESTS_RUNTIME_HOSTILE_H
#define SK_TESTS_RUNTIME_HOSTILE_H

/* Runs the worker if it is to be hostile, and gives its exit status; -1: it is to be a real one. `argv` after the word
 * "worker". */
int hostile_main(int argc, char **argv);

#endif
