/* commands: the subcommands of the program, one function each in cmd_<name>.c, reached from the table in
 * main.c. argv[0] is the subcommand's name. They print, and return the exit code: 0 done, 1 run-time failure,
 * 2 usage or config error, or as cli/exit_code.h says. */
#ifndef SK_CLI_COMMANDS_H
#define SK_CLI_COMMANDS_H

int sk_cmd_envs(int argc, char **argv);      /* skiff envs [NAME|PLUGIN.so[:NAME]]           */
int sk_cmd_rollout(int argc, char **argv);   /* skiff rollout ENV (--actions FILE|--random)  */
int sk_cmd_check_env(int argc, char **argv); /* skiff check-env NAME|PLUGIN.so[:NAME]        */
int sk_cmd_new_env(int argc, char **argv);   /* skiff new-env NAME [--dir DIR]             */
int sk_cmd_train(int argc, char **argv);     /* skiff train FILE.yaml [key=value ...]        */
int sk_cmd_cluster(int argc, char **argv);   /* skiff cluster slurm|key                      */
int sk_cmd_eval(int argc, char **argv);      /* skiff eval CHECKPOINT                        */
int sk_cmd_play(int argc, char **argv);      /* skiff play CHECKPOINT [--out FILE.mp4]      */
int sk_cmd_export(int argc, char **argv);    /* skiff export POLICY --c NAME                 */
int sk_cmd_config(int argc, char **argv);    /* skiff config FILE.yaml | --reference         */
int sk_cmd_version(int argc, char **argv);   /* skiff version                                */
int sk_cmd_bench(int argc, char **argv);     /* skiff bench NAME                             */
int sk_cmd_docs(int argc, char **argv);      /* skiff docs metrics|config                    */
int sk_cmd_status(int argc, char **argv);    /* skiff status                                 */
int sk_cmd_list(int argc, char **argv);      /* skiff list tasks|actors|objects|workers      */
int sk_cmd_top(int argc, char **argv);       /* skiff top                                    */
int sk_cmd_timeline(int argc, char **argv);  /* skiff timeline FILE                          */
int sk_cmd_logs(int argc, char **argv);      /* skiff logs ACTOR|WORKER|PID                  */
int sk_cmd_node(int argc, char **argv);      /* skiff node --join|--head              */
int sk_cmd_worker(int argc, char **argv);    /* skiff worker: started by the runtime         */

#endif
