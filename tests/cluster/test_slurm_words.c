/* What Slurm's commands say, taken apart; where a head listens. */
#include "cli/cluster.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char running[] =
    "JobId=12 JobName=a JobState=FAKE UserId=root(0) GroupId=root(0) JobState=RUNNING Reason=None Dependency=(null) "
    "Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=3:9 RunTime=00:00:02 StartTime=2026-11-24T19:56:29 "
    "EndTime=2026-11-24T20:56:29 Deadline=N/A ReqNodeList=(null) ExcNodeList=(null) NodeList=n[1-3] BatchHost=n1 "
    "WorkDir=/a b StdErr=/tmp/x StdIn=/dev/null StdOut=/tmp/my run/slurm.log Power=\n";

Test(slurm_job, is_read_from_what_scontrol_says) {
    sk_slurm_job job;
    cr_assert_eq(sk_slurm_job_parse(running, &job, NULL), SK_OK);
    cr_assert_str_eq(job.state, "RUNNING", "the name of a job is no state of it");
    cr_assert_str_eq(job.reason, "None");
    cr_assert_str_eq(job.hosts, "n[1-3]");
    cr_assert_str_eq(job.log, "/tmp/my run/slurm.log", "a path may have blanks");
    cr_assert_eq(job.restarts, 2);
    cr_assert(job.is_batch);
    cr_assert_eq(job.exit_code, 3);
    cr_assert_eq(job.exit_signal, 9);
    cr_assert_gt(job.end_s, 0);
}

Test(slurm_job, without_hosts_or_an_end_has_none) {
    sk_slurm_job job;
    static const char text[] = "JobId=1 JobName=x UserId=a(1) JobState=PENDING Reason=Resources EndTime=Unknown "
                               "NodeList=(null) StdOut=/x\n";
    cr_assert_eq(sk_slurm_job_parse(text, &job, NULL), SK_OK);
    cr_assert_str_eq(job.hosts, "");
    cr_assert_eq(job.end_s, 0);
    cr_assert_not(sk_slurm_job_has_ended(&job));
}

Test(slurm_job, of_other_words_is_refused) {
    sk_slurm_job job;
    sk_error err = {0};
    cr_assert_eq(sk_slurm_job_parse("", &job, &err), SK_ECORRUPT);
    cr_assert_eq(sk_slurm_job_parse("JobId=1 UserId=a(1) JobState=RUNNING", &job, &err), SK_ECORRUPT);
    cr_assert(strstr(err.msg, "NodeList"), "%s", err.msg);
}

Test(slurm_job, has_ended_in_final_states_only) {
    static const char *const ended[] = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"},
                            *const going[] = {"PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", ""};
    for (int i = 0; i < SK_COUNT(ended); i++) {
        sk_slurm_job job = {0};
        strcpy(job.state, ended[i]);
        cr_assert(sk_slurm_job_has_ended(&job), "%s", ended[i]);
    }
    for (int i = 0; i < SK_COUNT(going); i++) {
        sk_slurm_job job = {0};
        strcpy(job.state, going[i]);
        cr_assert_not(sk_slurm_job_has_ended(&job), "%s", going[i]);
    }
}

Test(slurm_host, works_while_it_is_up_and_answers) {
    static const char *const up[] = {"idle", "mixed", "allocated", "completing", "draining", "mixed-", "maint$", "mix"},
                            *const not[] = {"down",  "down*", "mixed*",  "allocated*", "idle~",   "idle#", "drained",
                                            "fail", "failing", "unknown", "idlex",      "powering_down", "idle%", ""};
    for (int i = 0; i < SK_COUNT(up); i++) cr_assert(sk_slurm_state_is_up(up[i]), "%s", up[i]);
    for (int i = 0; i < SK_COUNT(not); i++) cr_assert_not(sk_slurm_state_is_up(not[i]), "%s", not[i]);
}

Test(slurm_host, has_the_state_of_its_own_line) {
    static const char text[] = "n10 down*\nn1 mixed\nn2 idle";
    char state[32];
    sk_slurm_state_of(text, "n1", state);
    cr_assert_str_eq(state, "mixed");
    sk_slurm_state_of(text, "n10", state);
    cr_assert_str_eq(state, "down*");
    sk_slurm_state_of(text, "n2", state);
    cr_assert_str_eq(state, "idle");
    sk_slurm_state_of(text, "n", state);
    cr_assert_str_eq(state, "");
}

Test(slurm_host, has_its_place_in_the_list_of_cpus) {
    static const int wanted[] = {2, 2, 2, 1, 8, 8, 0};
    for (int i = 0; i < SK_COUNT(wanted); i++) cr_assert_eq(sk_slurm_cpus_of("2(x3),1,8(x2)", i), wanted[i], "%d", i);
    static const char *const wrong[] = {"", "x", "(x3)", "-1", "2(x", "2(x0)", "2(y3)", "2;3"};
    for (int i = 0; i < SK_COUNT(wrong); i++) cr_assert_eq(sk_slurm_cpus_of(wrong[i], 1), 0, "%s", wrong[i]);
}

Test(bind, is_an_address_with_a_port) {
    static const char *const good[] = {"tcp://127.0.0.1:0", "tcp://eth0:7711", "tcp://*:*", "tcp://0.0.0.0:65535"},
                            *const wrong[] = {"", "127.0.0.1:1", "tcp://", "tcp://:1", "tcp://a", "tcp://a:", "tcp://a:x",
                                              "tcp://a:65536", "tcp://a:-1", "tcp://a:1x"};
    cr_assert_eq(sk_cluster_check_bind(NULL, NULL), SK_OK);
    for (int i = 0; i < SK_COUNT(good); i++) cr_assert_eq(sk_cluster_check_bind(good[i], NULL), SK_OK, "%s", good[i]);
    for (int i = 0; i < SK_COUNT(wrong); i++) {
        sk_error err = {0};
        cr_assert_eq(sk_cluster_check_bind(wrong[i], &err), SK_EINVAL, "%s", wrong[i]);
        cr_assert(strstr(err.msg, "wanted tcp://ADDRESS:PORT"), "%s", err.msg);
    }
}

Test(bind, gets_a_free_port_and_the_address_of_an_interface) {
    char bind[SK_CLUSTER_ENDPOINT], join[SK_CLUSTER_ENDPOINT];
    sk_error err = {0};
    cr_assert_eq(sk_cluster_choose_bind("tcp://lo:0", "", NULL, bind, join, &err), SK_OK, "%s", err.msg);
    cr_assert(strncmp(bind, "tcp://127.0.0.1:", 16) == 0 && atoi(bind + 16) > 0, "%s", bind);
    cr_assert_str_eq(bind, join);
    cr_assert_eq(sk_cluster_choose_bind("tcp://no-such-host:0", "", NULL, bind, join, &err), SK_EINVAL);
    cr_assert_eq(sk_cluster_choose_bind("tcp://no-such-host:7711", "", NULL, bind, join, &err), SK_OK);
    cr_assert_str_eq(join, "tcp://no-such-host:7711", "a port that is given is taken as it is");
}

Test(process, that_has_ended_has_a_code_and_words) {
    char text[64];
    sk_process_how(3 << 8, text);
    cr_assert_str_eq(text, "exit code 3");
    sk_process_how(9, text);
    cr_assert_str_eq(text, "killed by signal 9 (Killed)");
    cr_assert_eq(sk_process_code(3 << 8), 3);
    cr_assert_eq(sk_process_code(9), 137);
}
