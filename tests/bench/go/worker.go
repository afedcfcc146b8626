package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// The prefix of all keys of the bench.
const prefix = "bench/"

type worker struct {
	clients  []*clientv3.Client
	sessions [][]*concurrency.Session // by client
	held     []*concurrency.Mutex

	mu     sync.Mutex
	cancel context.CancelFunc // cancels the running loop
}

// open makes the clients and their sessions. Two mutexes of one name and one session would both hold it,
// so each caller of a name needs its own session.
func (w *worker) open(o order) error {
	w.clients = make([]*clientv3.Client, o.Clients)
	w.sessions = make([][]*concurrency.Session, o.Clients)
	return inParallel(o.Clients, 50, func(i int) error {
		client, err := clientv3.New(clientv3.Config{Endpoints: o.Hosts, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
		if err != nil {
			return err
		}
		w.clients[i] = client
		for range o.Sessions {
			session, err := concurrency.NewSession(client, concurrency.WithTTL(o.TTLSeconds))
			if err != nil {
				return err
			}
			w.sessions[i] = append(w.sessions[i], session)
		}
		mutex := concurrency.NewMutex(w.sessions[i][0], fmt.Sprintf(prefix+"warm-%d-%d", os.Getpid(), i))
		for range o.WarmUps {
			if err := mutex.Lock(context.Background()); err != nil {
				return err
			}
			if err := mutex.Unlock(context.Background()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *worker) hold(o order) (answer, error) {
	mutex := concurrency.NewMutex(w.sessions[o.Client][0], prefix+o.Name)
	w.held = append(w.held, mutex)
	calledAt := time.Now()
	err := mutex.Lock(context.Background())
	return answer{"ms": float64(time.Since(calledAt)) / float64(time.Millisecond)}, err
}

func (w *worker) release() (answer, error) {
	at := now()
	err := inParallel(len(w.held), 256, func(i int) error { return w.held[i].Unlock(context.Background()) })
	w.held = nil
	return answer{"at": at}, err
}

func (w *worker) memory(o order) (answer, error) {
	before := memoryNow()
	w.held = make([]*concurrency.Mutex, o.Count)
	err := inParallel(o.Count, o.AtOnce, func(i int) error {
		w.held[i] = concurrency.NewMutex(w.sessions[0][0], fmt.Sprintf(prefix+"%s-%d", o.Name, i))
		return w.held[i].Lock(context.Background())
	})
	return answer{"before": before, "after": memoryNow()}, err
}

func memoryNow() answer {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return answer{"heap": stats.HeapAlloc, "rss": residentBytes()}
}

func residentBytes() int {
	var size, resident int
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	_, _ = fmt.Sscan(string(statm), &size, &resident)
	return resident * os.Getpagesize()
}

func (w *worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
	}
}

func (w *worker) close() error {
	clients, sessions := w.clients, w.sessions
	w.clients, w.sessions = nil, nil
	return inParallel(len(clients), 50, func(i int) error {
		var all []error
		for _, session := range sessions[i] {
			all = append(all, session.Close())
		}
		if clients[i] != nil {
			all = append(all, clients[i].Close())
		}
		return errors.Join(all...)
	})
}
