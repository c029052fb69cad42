/* The load-balancing pattern in C on libzmq, as small and as fast as one thread makes it: two ROUTERs, the least recently
 * used worker first, messages passed on without a copy. No heartbeats, no deadlines, no retries, no counters: what a broker
 * would cost that promised nothing. Speaks what stock programs speak:
 *
 *   clients            [id][empty][body]
 *   Paranoid Pirate    READY [id][0x01]; task and answer [id][client id][empty][body]
 *   REQ workers        READY [id][empty]["READY"]; task and answer [id][empty][client id][empty][body]
 *
 *   load-balancer tcp://127.0.0.1:*        prints where it has bound, as JSON
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { WORKERS_MAX = 1 << 16, ID_MAX = 64, PARTS_MAX = 8, DRAIN_MAX = 64 };

typedef struct {
  unsigned char id[ID_MAX], size, is_req;
} Worker;

/* A ring, so that who was given a task longest ago is next. */
static Worker idle[WORKERS_MAX];
static unsigned idle_head, idle_count;

static void must(int rc, const char *what) {
  if (rc >= 0) return;
  fprintf(stderr, "load-balancer: %s: %s\n", what, zmq_strerror(zmq_errno()));
  exit(1);
}

/* Returns the number of frames; 0: nothing is there. */
static int receive(void *socket, zmq_msg_t *parts) {
  int count = 0;
  do {
    if (count == PARTS_MAX) must(-1, "a message of too many frames");
    zmq_msg_init(&parts[count]);
    if (zmq_msg_recv(&parts[count], socket, ZMQ_DONTWAIT) < 0) return 0;
  } while (zmq_msg_more(&parts[count++]));
  return count;
}

static void send_frames(void *socket, zmq_msg_t *parts, int from, int count) {
  for (int i = from; i < count; i++) {
    if (zmq_msg_send(&parts[i], socket, i + 1 < count ? ZMQ_SNDMORE : 0) < 0) must(-1, "send");
  }
}

static int from_worker(void *backend, void *frontend) {
  zmq_msg_t parts[PARTS_MAX];
  int count = receive(backend, parts);
  if (count == 0) return 0;
  int is_req = count > 1 && zmq_msg_size(&parts[1]) == 0;
  int ready = is_req ? count == 3 : count == 2 && *(unsigned char *)zmq_msg_data(&parts[1]) == 1;
  int answer = is_req ? count == 5 : count == 4;
  if (ready || answer) {
    Worker *w = &idle[(idle_head + idle_count++) % WORKERS_MAX];
    w->size = (unsigned char)zmq_msg_size(&parts[0]);
    w->is_req = (unsigned char)is_req;
    memcpy(w->id, zmq_msg_data(&parts[0]), w->size);
  }
  if (answer) send_frames(frontend, parts, is_req ? 2 : 1, count);
  for (int i = 0; i < count; i++) zmq_msg_close(&parts[i]);
  return 1;
}

static int from_client(void *frontend, void *backend) {
  zmq_msg_t parts[PARTS_MAX];
  int count = receive(frontend, parts);
  if (count == 0) return 0;
  Worker *w = &idle[idle_head];
  idle_head = (idle_head + 1) % WORKERS_MAX;
  idle_count--;
  must(zmq_send(backend, w->id, w->size, ZMQ_SNDMORE), "send");
  if (w->is_req) must(zmq_send(backend, "", 0, ZMQ_SNDMORE), "send");
  send_frames(backend, parts, 0, count);
  return 1;
}

static void *open_router(void *context, const char *endpoint, char *bound, size_t size) {
  void *socket = zmq_socket(context, ZMQ_ROUTER);
  int none = 0, backlog = 1024;
  zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
  zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
  zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
  zmq_setsockopt(socket, ZMQ_BACKLOG, &backlog, sizeof backlog);
  must(zmq_bind(socket, endpoint), endpoint);
  must(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &size), "last endpoint");
  return socket;
}

int main(int argc, char **argv) {
  const char *endpoint = argc > 1 ? argv[1] : "tcp://127.0.0.1:*";
  void *context = zmq_ctx_new();
  char front[256], back[256];
  void *frontend = open_router(context, endpoint, front, sizeof front);
  void *backend = open_router(context, endpoint, back, sizeof back);
  printf("{\"type\":\"ready\",\"localfe\":\"%s\",\"localbe\":\"%s\"}\n", front, back);
  fflush(stdout);
  for (;;) {
    zmq_pollitem_t items[] = {{backend, 0, ZMQ_POLLIN, 0}, {frontend, 0, ZMQ_POLLIN, 0}, {NULL, 0, ZMQ_POLLIN, 0}};
    /* Clients are read only while somebody is free; stdin ends when whoever started us is gone. */
    zmq_pollitem_t *watched = items;
    if (idle_count == 0) items[1] = items[2];
    must(zmq_poll(watched, idle_count == 0 ? 2 : 3, -1), "poll");
    if (items[idle_count == 0 ? 1 : 2].revents) return 0;
    for (int busy = 1; busy;) {
      busy = 0;
      for (int i = 0; i < DRAIN_MAX && from_worker(backend, frontend); i++) busy = 1;
      for (int i = 0; i < DRAIN_MAX && idle_count > 0 && from_client(frontend, backend); i++) busy = 1;
    }
  }
}
