import type { Assignment } from './assignment.ts'
import { Timed } from './timing-wheel.ts'

/** Whoever runs tasks for us, a worker or a peer, and what it holds of ours, oldest first. */
export abstract class Executor extends Timed {
  firstHeld: Assignment | null = null
  lastHeld: Assignment | null = null
  /** How many. */
  held = 0

  hold(assignment: Assignment): void {
    assignment.prev = this.lastHeld
    if (this.lastHeld !== null) this.lastHeld.next = assignment
    else this.firstHeld = assignment
    this.lastHeld = assignment
    this.held++
  }

  letGo(assignment: Assignment): void {
    const { prev, next } = assignment
    if (prev !== null) prev.next = next
    else this.firstHeld = next
    if (next !== null) next.prev = prev
    else this.lastHeld = prev
    assignment.prev = null
    assignment.next = null
    this.held--
  }

  /** A copy to go through while the list changes. Newest first, so that what is put back in line keeps its order. */
  heldNewestFirst(): Assignment[] {
    const all: Assignment[] = []
    for (let a = this.lastHeld; a !== null; a = a.prev) all.push(a)
    return all
  }
}
