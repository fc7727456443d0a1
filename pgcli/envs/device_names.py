"""Names of the environments of device back ends, known without importing JAX."""

from collections.abc import Mapping

_BRAX = (
    "ant halfcheetah hopper humanoid humanoidstandup inverted_pendulum "
    "inverted_double_pendulum pusher reacher swimmer walker2d"
)
"""All but `fast`, a stub for Brax's own tests."""

_GYMNAX = (
    "CartPole-v1 Pendulum-v1 Acrobot-v1 MountainCar-v0 MountainCarContinuous-v0 "
    "Asterix-MinAtar Breakout-MinAtar Freeway-MinAtar Seaquest-MinAtar "
    "SpaceInvaders-MinAtar Catch-bsuite DeepSea-bsuite MemoryChain-bsuite "
    "UmbrellaChain-bsuite DiscountingChain-bsuite SimpleBandit-bsuite FourRooms-misc "
    "MetaMaze-misc PointRobot-misc Reacher-misc Swimmer-misc Pong-misc "
    "FrozenLake-misc"
)
"""All except the MNIST bandit, which downloads its images, and two bandits whose
observations differ from their declaration (in 1.0.1)."""

_XMINIGRID = (
    "MiniGrid-BlockedUnlockPickUp MiniGrid-DoorKey-5x5 MiniGrid-DoorKey-6x6 "
    "MiniGrid-DoorKey-8x8 MiniGrid-DoorKey-16x16 MiniGrid-Empty-5x5 "
    "MiniGrid-Empty-6x6 MiniGrid-Empty-8x8 MiniGrid-Empty-16x16 "
    "MiniGrid-EmptyRandom-5x5 MiniGrid-EmptyRandom-6x6 MiniGrid-EmptyRandom-8x8 "
    "MiniGrid-EmptyRandom-16x16 MiniGrid-FourRooms MiniGrid-LockedRoom "
    "MiniGrid-MemoryS8 MiniGrid-MemoryS16 MiniGrid-MemoryS32 MiniGrid-MemoryS64 "
    "MiniGrid-MemoryS128 MiniGrid-Playground MiniGrid-Unlock MiniGrid-UnlockPickUp"
)
"""All except the XLand ones, which require a downloaded file of rules."""

_CONTROL_SUITE = (
    "AcrobotSwingup AcrobotSwingupSparse BallInCup CartpoleBalance "
    "CartpoleBalanceSparse CartpoleSwingup CartpoleSwingupSparse CheetahRun "
    "FingerSpin FingerTurnEasy FingerTurnHard FishSwim HopperHop HopperStand "
    "HumanoidRun HumanoidStand HumanoidWalk PendulumSwingup PointMass ReacherEasy "
    "ReacherHard SwimmerSwimmer6 WalkerRun WalkerStand WalkerWalk"
)

_ROBOTS = (
    "AeroCubeRotateZAxis AlohaHandOver AlohaSinglePegInsertion "
    "ApolloJoystickFlatTerrain BarkourJoystick BerkeleyHumanoidJoystickFlatTerrain "
    "BerkeleyHumanoidJoystickRoughTerrain G1JoystickFlatTerrain "
    "G1JoystickRoughTerrain Go1Footstand Go1Getup Go1Handstand Go1JoystickFlatTerrain "
    "Go1JoystickRoughTerrain H1InplaceGaitTracking H1JoystickGaitTracking "
    "LeapCubeReorient LeapCubeRotateZAxis Op3Joystick PandaOpenCabinet PandaPickCube "
    "PandaPickCubeCartesian PandaPickCubeOrientation PandaRobotiqPushCube "
    "SpotFlatTerrainJoystick SpotGetup SpotJoystickGaitTracking T1JoystickFlatTerrain "
    "T1JoystickRoughTerrain"
)

_PGX = (
    "2048 minatar-asterix minatar-breakout minatar-freeway minatar-seaquest "
    "minatar-space_invaders"
)

ROBOTS = tuple(_ROBOTS.split())
"""Environments whose models are in another repository, mujoco_menagerie."""

DEVICE_NAMES: Mapping[str, tuple[str, ...]] = {
    "func": ("CartPole-v1", "Pendulum-v1"),
    "gymnax": tuple(_GYMNAX.split()),
    "brax": tuple(_BRAX.split()),
    "playground": (*_CONTROL_SUITE.split(), *ROBOTS),
    "xminigrid": tuple(_XMINIGRID.split()),
    "pgx": tuple(_PGX.split()),
}
"""Prefix -> names that can follow it, without those of user modules."""
