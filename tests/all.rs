//! The tests that see campon from outside, as one binary: a module is a kind of test.

#[cfg(test)]
mod flow;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod power;
#[cfg(test)]
mod torture;
