/* commands: the subcommands of the program, one function each in cmd_<name>.c, reached from the table in
 * main.c. argv[0] is the subcommand's name. They print, and return the exit code: 0 done, 1 run-time failure,
 * 2 usage or config error. */
#ifndef SK_CLI_COMMANDS_H
#define SK_CLI_COMMANDS_H

int sk_cmd_envs(int argc, char **argv);      /* skiff envs [NAME|PLUGIN.so[:NAME]]           */
int sk_cmd_rollout(int argc, char **argv);   /* skiff rollout ENV (--actions FILE|--random)  */
int sk_cmd_check_env(int argc, char **argv); /* skiff check-env NAME|PLUGIN.so[:NAME]        */

#endif
