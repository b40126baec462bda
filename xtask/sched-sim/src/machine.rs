//! The simulated machine, as the scheduler sees it ([`hv_core::credit::Machine`]).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use hv_core::credit::{self, Board, Entity, Parameters, Queue, Share, Tag};
use hv_core::heap::Placed;
use hv_core::id::PcpuId;
use hv_core::pcpu_set::PcpuSet;

/// A vcpu for the scheduler.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    number: usize,
    tag: Tag,
    entity: RefCell<Entity>,
}

impl Handle {
    /// The vcpu `number` of a domain with `share`.
    pub fn new(number: usize, share: Arc<Share>, home: PcpuId, now: u64) -> Self {
        let entity = RefCell::new(Entity::new(home, now));
        Self(Rc::new(Inner { number, tag: Tag::new(share), entity }))
    }

    /// Its place among all vcpus of the scenario.
    pub fn number(&self) -> usize {
        self.0.number
    }
}

impl Placed for Handle {
    fn place(&self) -> Option<usize> {
        self.0.tag.place()
    }

    fn set_place(&self, place: Option<usize>) {
        self.0.tag.set_place(place);
    }
}

impl credit::Vcpu for Handle {
    fn tag(&self) -> &Tag {
        &self.0.tag
    }

    fn entity<R>(&self, work: impl FnOnce(&mut Entity) -> R) -> R {
        work(&mut self.0.entity.borrow_mut())
    }
}

/// Pcpus, all of them idle at first.
pub struct Machine {
    queues: Vec<RefCell<Queue<Handle>>>,
    board: Board,
    online: PcpuSet,
    parameters: Parameters,
    kicks: RefCell<Vec<PcpuId>>,
}

impl Machine {
    /// `pcpus` of them.
    pub fn new(pcpus: usize, parameters: Parameters) -> Self {
        let online: PcpuSet = (0..pcpus).filter_map(PcpuId::new).collect();
        let machine = Self {
            queues: (0..pcpus).map(|_| RefCell::new(Queue::new())).collect(),
            board: Board::new(),
            online,
            parameters,
            kicks: RefCell::default(),
        };
        online.iter().for_each(|pcpu| credit::set_idle(&machine, pcpu));
        machine
    }

    /// The pcpus that have been kicked since this was asked last.
    pub fn take_kicks(&self) -> Vec<PcpuId> {
        self.kicks.take()
    }
}

impl credit::Machine for Machine {
    type Vcpu = Handle;

    fn queue<R>(&self, pcpu: PcpuId, work: impl FnOnce(&mut Queue<Handle>) -> R) -> R {
        work(&mut self.queues[pcpu.index()].borrow_mut())
    }

    fn board(&self) -> &Board {
        &self.board
    }

    fn online(&self) -> PcpuSet {
        self.online
    }

    fn parameters(&self) -> Parameters {
        self.parameters
    }

    fn kick(&self, pcpu: PcpuId) {
        self.kicks.borrow_mut().push(pcpu);
    }

    fn hasten(&self, pcpu: PcpuId, _: Option<&Handle>) {
        self.kick(pcpu);
    }
}
