/* A libmujoco.so of a version that skiff was not built for. */
int mj_version(void);
int mj_version(void) { return 3003008; }
