//! The integration tests of `lookout-track`, in one program that is linked once.

mod closing;
mod follower;
mod places;
mod restart;
