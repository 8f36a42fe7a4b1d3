use faithful_core::{Error, Result};
use std::str::FromStr;

/// Which share of the images a process does: image `i` belongs to shard `i % count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// This share's number, from 0.
    pub index: usize,
    /// The number of shares, at least 1.
    pub count: usize,
}

impl Shard {
    /// All images.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether image `i` belongs to this share.
    pub fn has(self, image: usize) -> bool {
        image % self.count == self.index
    }

    /// The share that a cluster's scheduler gave to this process, from the environment that `read` looks into:
    /// a Slurm array (`SLURM_ARRAY_TASK_ID`, `_MIN`, `_COUNT`), a Slurm step or MPI rank, or a Kubernetes indexed job
    /// (`JOB_COMPLETION_INDEX` with `JOB_COMPLETIONS`). `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the variables are there but invalid.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let number = |name: &'static str| {
            let parse = |text: String| {
                text.trim().parse::<usize>().map_err(|_| Error::parameter(name, format!("`{text}` is no number")))
            };
            read(name).map(parse).transpose()
        };
        if let (Some(id), Some(count)) = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_COUNT")?) {
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            let index = id.checked_sub(first).map(|offset| offset / step);
            let index = index.ok_or_else(|| {
                Error::parameter("SLURM_ARRAY_TASK_ID", format!("{id} is below the array's first task, {first}"))
            })?;
            return Self::checked("SLURM_ARRAY_TASK_ID", index, count).map(Some);
        }
        let pairs = [
            ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
            ("SLURM_PROCID", "SLURM_NTASKS"),
            ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
            ("PMI_RANK", "PMI_SIZE"),
        ];
        for (rank, size) in pairs {
            if let (Some(index), Some(count)) = (number(rank)?, number(size)?) {
                return Self::checked(rank, index, count).map(Some);
            }
        }
        Ok(None)
    }

    fn checked(name: &'static str, index: usize, count: usize) -> Result<Self> {
        if index < count {
            Ok(Self { index, count })
        } else {
            Err(Error::parameter(name, format!("share {index} of {count} does not exist; shares count from 0")))
        }
    }
}

impl FromStr for Shard {
    type Err = Error;

    /// `I/N` with `I` from 1 to `N`, as people count.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::parameter("shard", format!("`{text}` is not I/N with 1 <= I <= N, as in 2/8"));
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let index: usize = index.trim().parse().map_err(|_| wrong())?;
        let count: usize = count.trim().parse().map_err(|_| wrong())?;
        if index == 0 || index > count { Err(wrong()) } else { Ok(Self { index: index - 1, count }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn shards_part_the_images() {
        let shards: Vec<Shard> = (0..3).map(|index| Shard { index, count: 3 }).collect();
        for image in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.has(image)).count(), 1);
        }
    }

    #[test]
    fn people_count_from_one() {
        assert_eq!("2/8".parse::<Shard>().unwrap(), Shard { index: 1, count: 8 });
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn schedulers_are_understood() {
        let slurm = [("SLURM_ARRAY_TASK_ID", "5"), ("SLURM_ARRAY_TASK_COUNT", "3"), ("SLURM_ARRAY_TASK_MIN", "3")];
        let found = Shard::from_environment(environment(&slurm)).unwrap();
        assert_eq!(found, Some(Shard { index: 2, count: 3 }));
        let kubernetes = [("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "4")];
        let found = Shard::from_environment(environment(&kubernetes)).unwrap();
        assert_eq!(found, Some(Shard { index: 0, count: 4 }));
        assert_eq!(Shard::from_environment(|_| None).unwrap(), None);
        let wrong = [("PMI_RANK", "4"), ("PMI_SIZE", "4")];
        assert!(Shard::from_environment(environment(&wrong)).is_err());
    }
}
