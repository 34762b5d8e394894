"""
Moving a tenant from one database to another while it works, without losing a write.

Its records are copied as they are, with the same positions, ids, times and digests, while callers go on. When little is
left the tenant is frozen, the rest is copied, and the heads are compared: equal heads are the proof. Then the source
writes that the tenant has moved, which is the one step that cannot be taken back; that record is copied too, so that
the source's log is the beginning of the target's; and the target writes that it arrived, and takes changes. Last, the
tenant's consumers are handed over.

| source | target | so the move | and takes changes |
|---|---|---|---|
| open | - or arriving | may begin, or go on | at the source |
| frozen | arriving | is about to be done; whoever finds it so thaws the source first | nowhere |
| moved | arriving | is done at the source, and only goes on | nowhere |
| moved | open | is done | at the target |

These states are all that a move leaves behind, whatever ends it; the next one reads them and goes on. A tenant may
come back: then its log there is the beginning of the one that it comes with.
"""
